"""Dagster's event log is as the platform needs it."""

import inspect
from pathlib import Path

import dagster as dg
import pytest

from ml_platform.compat import dagster_event_log
from ml_platform.storages.sqlite import KeptEngineSqliteEventLogStorage
from ml_platform_tests.compat.expecting import Expected, has, overrides, takes, uses

EXPECTED = Expected(dagster_event_log)


@pytest.mark.parametrize("name", dagster_event_log.__all__)
def test_a_name_is_as_it_is_needed(name: str) -> None:
    EXPECTED.of[name]()


def test_something_is_expected_of_every_name() -> None:
    EXPECTED.is_complete()


def test_the_stock_log_opens_its_database_where_ours_keeps_it(tmp_path: Path) -> None:
    storage = dagster_event_log.ConsolidatedSqliteEventLogStorage(base_dir=str(tmp_path))
    assert storage._conn_string.startswith(f"sqlite:///{tmp_path}/")  # as ours reads it


@EXPECTED("ConsolidatedSqliteEventLogStorage")
def a_log_in_one_file() -> None:
    theirs = dagster_event_log.ConsolidatedSqliteEventLogStorage
    takes(theirs, "base_dir", "inst_data")
    overrides(
        KeptEngineSqliteEventLogStorage,
        theirs,
        "store_event store_event_batch config_type from_config_value _connect dispose",
    )
    takes(theirs.prepare_insert_event, "event")
    takes(theirs._store_asset_event, "conn", "event", "event_id")
    takes(theirs._store_asset_event_tags, "conn", "events", "event_ids")
    takes(theirs.store_asset_check_event, "event", "event_id")
    uses(theirs.run_connection, "_connect")
    uses(theirs.store_event, "_store_asset_event")
    has(dg.EventLogEntry, "_replace dagster_event_type dagster_event run_id")
    has(dg.DagsterEvent, "_replace asset_key is_step_materialization step_materialization_data")
    has(dg.AssetMaterialization("made"), "_replace tags partition metadata")


@EXPECTED("EventLogStorage")
def a_log() -> None:
    theirs = dagster_event_log.EventLogStorage
    # Each is repeated while the database is away, or said not to be: a new one must be looked at.
    assert {"store_event", "get_event_records", "watch", "end_watch", "wipe", "upgrade"} <= theirs.__abstractmethods__
    has(
        theirs,
        "get_asset_keys get_logs_for_run get_stats_for_run get_step_stats_for_run get_asset_check_state "
        "get_concurrency_infos get_maximum_record_id store_event_batch",
    )
    assert inspect.isfunction(theirs.get_logs_for_run)


@EXPECTED("SqlEventLogStorageTable", "AssetEventTagsTable", "SqlEventLogStorageMetadata")
def tables_of_events() -> None:
    has(dagster_event_log.SqlEventLogStorageTable.c, "id run_id event")
    has(dagster_event_log.AssetEventTagsTable.c, "event_id")
    tables = dagster_event_log.SqlEventLogStorageMetadata
    assert {"event_logs", "asset_event_tags", "secondary_indexes"} <= set(tables.tables)
    assert len(tables.sorted_tables) == len(tables.tables)


@EXPECTED("create_engine", "SQLITE_BUSY_TIMEOUT_SECONDS")
def an_engine() -> None:
    seconds = dagster_event_log.SQLITE_BUSY_TIMEOUT_SECONDS
    assert isinstance(seconds, int | float)
    assert seconds >= 1
    engine = dagster_event_log.create_engine("sqlite://", connect_args={"timeout": seconds})
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
