"""A laptop's instance comes into PostgreSQL as it was, whole or not at all."""

import sqlite3
from pathlib import Path

import dagster as dg
import pytest
import yaml
from click.testing import CliRunner

from ml_platform.cli.main import commands
from ml_platform.errors import PlatformError
from ml_platform.launchers.leases.schema import ENDED, work_of
from ml_platform.launchers.leases.table import Launches
from ml_platform_tests.dagster_internals import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
    SensorInstigatorData,
    create_run_for_test,
)
from ml_platform_tests.postgres import Postgres

TABLES = ("runs", "event_logs", "instigators")


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a", "b"]), metadata={"of": "a partition"})
def rows(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"rows": len(context.partition_key)}, data_version=dg.DataVersion("v"))


ORIGIN = RemoteInstigatorOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "repository"), "sensor")


@pytest.fixture
def laptop(tmp_path: Path) -> Path:
    """An instance with two runs, a sensor that has seen some events, a launch and a dynamic partition."""
    home = tmp_path / "laptop"
    home.mkdir()
    storage = {"module": "ml_platform.storages.sqlite", "class": "KeptEngineSqliteEventLogStorage"}
    config = {"event_log_storage": {**storage, "config": {"base_dir": str(home / "storage")}}}
    (home / "dagster.yaml").write_text(yaml.safe_dump(config))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        for partition in ("a", "b"):
            assert dg.materialize([rows], instance=instance, partition_key=partition).success
        instance.add_dynamic_partitions("days", ["2026-01-01"])
        seen = SensorInstigatorData(cursor=str(instance.event_log_storage.get_maximum_record_id()))
        instance.add_instigator_state(InstigatorState(ORIGIN, InstigatorType.SENSOR, InstigatorStatus.RUNNING, seen))
        launches = Launches.of(instance)
        launches.release(launches.intend(work_of(instance.get_runs()[0]), "cpu"), ENDED)
    return home


@pytest.fixture
def services(tmp_path: Path, postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An instance without runs in PostgreSQL."""
    name = tmp_path.name
    postgres_server.create_database(name)
    home = tmp_path / "services"
    home.mkdir()
    (home / "dagster.yaml").write_text(yaml.safe_dump({"storage": postgres_server.storage_yaml(name)}))
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    return home


def copy(laptop: Path) -> str:
    return CliRunner().invoke(commands, ["copy-instance", str(laptop)], catch_exceptions=False).output


def test_everything_is_there_under_the_same_numbers(laptop: Path, services: Path) -> None:
    said = copy(laptop)
    assert "runs: 2 rows" in said
    assert "ml_platform_launches: 1 rows" in said
    with dg.DagsterInstance.from_config(str(laptop)) as was, dg.DagsterInstance.from_config(str(services)) as now:
        assert now.get_runs() == was.get_runs()
        for run in was.get_runs():
            assert now.all_logs(run.run_id) == was.all_logs(run.run_id)
            assert now.get_job_snapshot(run.job_snapshot_id or "") == was.get_job_snapshot(run.job_snapshot_id or "")
        key = dg.AssetKey("rows")
        assert now.get_materialized_partitions(key) == {"a", "b"}
        latest = [one.get_latest_materialization_event(key) for one in (now, was)]
        assert latest[0] == latest[1]
        records = [one.fetch_materializations(key, limit=9).records for one in (now, was)]
        assert [one.storage_id for one in records[0]] == [one.storage_id for one in records[1]]
        assert now.get_dynamic_partitions("days") == ["2026-01-01"]
        selector = ORIGIN.get_selector().get_id()
        found = [one.get_instigator_state(ORIGIN.get_id(), selector) for one in (now, was)]
        assert found[0] == found[1]
        assert Launches.of(now).all() == Launches.of(was).all()


def test_what_comes_afterwards_gets_numbers_of_its_own(laptop: Path, services: Path) -> None:
    copy(laptop)
    with dg.DagsterInstance.from_config(str(services)) as now:
        last = now.event_log_storage.get_maximum_record_id()
        assert dg.materialize([rows], instance=now, partition_key="a").success
        assert now.event_log_storage.get_maximum_record_id() > last
        assert len(now.get_runs()) == 3


def test_a_second_copy_is_refused(laptop: Path, services: Path) -> None:
    copy(laptop)
    with pytest.raises(PlatformError, match="runs is not empty; expected an instance without runs"):
        copy(laptop)


def test_runs_under_way_are_named(laptop: Path, services: Path) -> None:
    with dg.DagsterInstance.from_config(str(laptop)) as instance:
        run = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED)
    with pytest.raises(PlatformError, match=f"runs are not finished: {run.run_id}"):
        copy(laptop)


def test_another_kind_of_instance_is_refused_with_what_is_missing(tmp_path: Path, services: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(
        PlatformError, match=r"missing: history/runs\.db, storage/event_log\.db, schedules/schedules\.db"
    ):
        copy(tmp_path / "other")


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("ALTER TABLE runs DROP COLUMN end_time", "runs.end_time in history/runs.db"),
        ("DELETE FROM secondary_indexes WHERE name = 'run_partitions'", "run_partitions"),
    ],
)
def test_an_instance_of_an_older_version_is_told_to_migrate(
    laptop: Path, services: Path, statement: str, named: str
) -> None:
    with sqlite3.connect(laptop / "history" / "runs.db") as database:
        database.execute(statement)
    with pytest.raises(PlatformError, match=f"without {named}; run: DAGSTER_HOME=.* dagster instance migrate"):
        copy(laptop)


def test_nothing_is_copied_where_something_cannot_be(laptop: Path, services: Path) -> None:
    with sqlite3.connect(laptop / "history" / "runs.db") as database:
        database.execute("UPDATE ml_platform_launches SET generation = 'no number'")
    with pytest.raises(Exception, match="no number"):
        copy(laptop)
    with dg.DagsterInstance.from_config(str(services)) as now:
        assert (now.get_runs(), now.all_asset_keys()) == ([], [])
