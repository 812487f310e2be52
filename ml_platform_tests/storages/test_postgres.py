"""Dagster's storage in PostgreSQL goes through restarts of the server, and each process has its own connection."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg2
import pytest
import sqlalchemy as db
import yaml

from ml_platform.compat.dagster import DATA_VERSION_TAG
from ml_platform.databases import is_outage
from ml_platform.errors import PlatformError
from ml_platform.storages.postgres import KeptPostgresStorage, _engine_of
from ml_platform_tests import tiers
from ml_platform_tests.dagster_internals import DagsterRunAlreadyExists, StepMaterializationData, create_run_for_test
from ml_platform_tests.postgres import Postgres


@pytest.fixture(scope="module")
def server(postgres_server: Postgres) -> Postgres:
    postgres_server.create_database("kept")
    return postgres_server


@pytest.fixture
def instance(server: Postgres, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump({"storage": server.storage_yaml("kept")}))
    with dg.DagsterInstance.from_config(str(tmp_path)) as made:
        yield made


def fall_before(server: Postgres, what: str, seconds: float = 1.0) -> threading.Thread:
    """Has the server fall before the next statement that begins so, and come back."""
    engine = _engine_of(server.url("kept"))

    def before(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if statement.startswith(what) and back.ident is None:
            server.cut()
            back.start()

    def come_back() -> None:
        time.sleep(seconds)
        server.restart()

    back = threading.Thread(target=come_back)
    db.event.listen(engine, "before_cursor_execute", before)
    return back


@pytest.mark.parametrize(
    ("what", "seconds"),
    tiers.cases(
        "outages of an event",
        [("INSERT INTO event_logs", 1.0), ("INSERT INTO event_logs", 8.0), ("UPDATE runs", 1.0)],
    ),
)
def test_an_event_is_written_through_an_outage(
    instance: dg.DagsterInstance, server: Postgres, what: str, seconds: float
) -> None:
    run = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED)
    back = fall_before(server, what, seconds)
    instance.report_run_canceling(run)
    back.join()
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    assert found.status is dg.DagsterRunStatus.CANCELING
    assert [entry.dagster_event_type for entry in instance.all_logs(run.run_id)] == [
        dg.DagsterEventType.PIPELINE_CANCELING
    ]


def test_what_the_database_refuses_is_not_asked_again(instance: dg.DagsterInstance, server: Postgres) -> None:
    run, asked = create_run_for_test(instance), list[str]()

    def before(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        asked.append(statement)

    db.event.listen(_engine_of(server.url("kept")), "before_cursor_execute", before)
    with pytest.raises(DagsterRunAlreadyExists):
        instance.add_run(run)
    assert sum(one.startswith("INSERT INTO runs ") for one in asked) == 1, asked


def test_a_forked_process_speaks_over_a_connection_of_its_own(instance: dg.DagsterInstance) -> None:
    runs = [create_run_for_test(instance) for _ in range(20)]
    child = os.fork()
    if child == 0:
        wrong = [run for run in runs * 5 if (instance.get_run_by_id(run.run_id) or run._replace(run_id="")) != run]
        os._exit(len(wrong))
    try:
        for run in runs * 5:
            found = instance.get_run_by_id(run.run_id)
            assert found is not None
            assert found.run_id == run.run_id
    finally:
        assert os.waitpid(child, 0)[1] == 0


def test_each_partition_has_its_own_data_version(instance: dg.DagsterInstance) -> None:
    run = create_run_for_test(instance)
    for key in ("a", "b"):
        materialization = dg.AssetMaterialization(
            "parts", partition=key, metadata={"data_version": f"version of {key}"}
        )
        event = dg.DagsterEvent(
            event_type_value=dg.DagsterEventType.ASSET_MATERIALIZATION.value, job_name="job",
            event_specific_data=StepMaterializationData(materialization),
        )  # fmt: skip
        instance.report_dagster_event(event, run_id=run.run_id)
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        dg.AssetKey("parts"), dg.DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION_TAG]
    )
    assert tags == {key: {DATA_VERSION_TAG: f"version of {key}"} for key in ("a", "b")}


@pytest.mark.parametrize(
    "what",
    tiers.cases(
        "events whose answer is lost",
        ["NOTIFY", "INSERT INTO asset_event_tags", "INSERT INTO asset_keys", "SELECT asset_keys"],
    ),
)
def test_an_event_whose_answer_was_lost_stands_once_in_the_log(
    instance: dg.DagsterInstance, server: Postgres, what: str
) -> None:
    """Twice, the executor of its run would stumble over it."""
    run = create_run_for_test(instance)
    key = dg.AssetKey(f"lost {what}")
    materialization = dg.AssetMaterialization(key, tags={DATA_VERSION_TAG: "v"})
    event = dg.DagsterEvent(
        event_type_value=dg.DagsterEventType.ASSET_MATERIALIZATION.value, job_name="job",
        event_specific_data=StepMaterializationData(materialization),
    )  # fmt: skip
    back = fall_before(server, what)
    instance.report_dagster_event(event, run_id=run.run_id)
    if back.ident is not None:
        back.join()
    assert len(instance.all_logs(run.run_id)) == 1
    assert instance.has_asset_key(key)
    assert instance.get_latest_materialization_event(key) is not None
    tags = instance.event_log_storage.get_event_tags_for_asset(key)
    assert tags == [{DATA_VERSION_TAG: "v"}]


@pytest.mark.full
@pytest.mark.parametrize("what", ["UPDATE runs", "INSERT INTO run_tags"])
def test_a_tag_is_found_whenever_the_server_fell(instance: dg.DagsterInstance, server: Postgres, what: str) -> None:
    run = create_run_for_test(instance)
    back = fall_before(server, what)
    instance.add_run_tags(run.run_id, {"what": what})
    back.join()
    assert [one.run_id for one in instance.get_runs(dg.RunsFilter(tags={"what": what}))] == [run.run_id]


@pytest.mark.parametrize(
    ("broken", "is_away"),
    [
        (lambda url: url.replace("/kept", "/nowhere"), False),
        (lambda url: url.replace("postgres@127.0.0.1", "nobody_known@127.0.0.1"), False),
        (lambda _: "postgresql+psycopg2://postgres@127.0.0.1:9/kept", True),
    ],
)
def test_what_is_wrong_for_ever_is_no_outage(server: Postgres, broken: Any, is_away: bool) -> None:
    with pytest.raises(db.exc.OperationalError) as caught:
        db.create_engine(broken(server.url("kept"))).connect()
    assert is_outage(caught.value) == is_away


def test_what_the_driver_raises_itself_is_read_too(server: Postgres) -> None:
    """While a connection is given back nothing wraps it."""
    engine = db.create_engine(server.url("kept"))
    connection = engine.raw_connection()
    with pytest.raises(psycopg2.Error) as wrong:
        connection.cursor().execute("SELEKT 1")
    server.cut()
    with pytest.raises(psycopg2.OperationalError) as away:
        connection.cursor().execute("SELECT 1")
    server.restart()
    assert (is_outage(wrong.value), is_outage(away.value)) == (False, True)


def test_a_statement_that_takes_too_long_is_no_outage(server: Postgres) -> None:
    engine = db.create_engine(server.url("kept"))
    with engine.connect() as connection:
        connection.execute(db.text("SET statement_timeout = 50"))
        with pytest.raises(db.exc.OperationalError) as caught:
            connection.execute(db.text("SELECT pg_sleep(5)"))
    assert not is_outage(caught.value)


def test_another_way_to_authenticate_is_refused() -> None:
    with pytest.raises(PlatformError, match="auth_provider is not supported"):
        KeptPostgresStorage.from_config_value(None, {"postgres_url": "postgresql://x", "auth_provider": {"aws": {}}})
