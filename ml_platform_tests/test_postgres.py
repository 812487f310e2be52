"""A Dagster instance lives in the tests' own PostgreSQL, and survives the server's fall."""

from pathlib import Path

import dagster as dg
import pytest
import yaml
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from ml_platform_tests.dagster_internals import create_run_for_test
from ml_platform_tests.postgres import Postgres


def instance_in(server: Postgres, database: str, home: Path) -> dg.DagsterInstance:
    server.create_database(database)
    home.mkdir()
    (home / "dagster.yaml").write_text(yaml.safe_dump({"storage": server.storage_yaml(database)}))
    return dg.DagsterInstance.from_config(str(home))


def test_an_instance_stores_and_reads_a_run(postgres_server: Postgres, tmp_path: Path) -> None:
    @dg.op
    def say(context: dg.OpExecutionContext) -> None:
        context.log_event(dg.AssetMaterialization("said"))

    @dg.job
    def speak() -> None:
        say()

    with instance_in(postgres_server, "stores", tmp_path / "home") as instance:
        assert type(instance.run_storage).__name__ == "KeptPostgresRunStorage"
        done = speak.execute_in_process(instance=instance)
        with dg.DagsterInstance.from_config(str(tmp_path / "home")) as another:
            (run,) = another.get_runs()
            assert (run.run_id, run.status) == (done.run_id, dg.DagsterRunStatus.SUCCESS)
            assert another.get_latest_materialization_event(dg.AssetKey("said")) is not None


def test_what_was_stored_survives_the_servers_fall(postgres_server: Postgres, tmp_path: Path) -> None:
    with instance_in(postgres_server, "survives", tmp_path / "home") as instance:
        kept = create_run_for_test(instance)
        engine = create_engine(postgres_server.url("survives"))
        with engine.connect() as connection:
            postgres_server.cut()
            try:
                with pytest.raises(OperationalError):
                    connection.execute(text("SELECT 1"))
                with pytest.raises(OperationalError, match="Connection refused"):
                    engine.connect()
            finally:
                postgres_server.restart()
        assert [run.run_id for run in instance.get_runs()] == [kept.run_id]
        added = create_run_for_test(instance)
        assert {run.run_id for run in instance.get_runs()} == {kept.run_id, added.run_id}


def test_two_databases_do_not_see_each_other(postgres_server: Postgres, tmp_path: Path) -> None:
    with (
        instance_in(postgres_server, "one", tmp_path / "one") as one,
        instance_in(postgres_server, "two", tmp_path / "two") as two,
    ):
        run = create_run_for_test(one)
        assert [found.run_id for found in one.get_runs()] == [run.run_id]
        assert two.get_runs() == []
