"""Dagster's storages of runs and schedules are as the platform needs them."""

import pytest

from ml_platform.compat import dagster_storage
from ml_platform_tests.compat.expecting import Expected, has, takes

EXPECTED = Expected(dagster_storage)


@pytest.mark.parametrize("name", dagster_storage.__all__)
def test_a_name_is_as_it_is_needed(name: str) -> None:
    EXPECTED.of[name]()


def test_something_is_expected_of_every_name() -> None:
    EXPECTED.is_complete()


@EXPECTED("RunStorage")
def runs() -> None:
    theirs = dagster_storage.RunStorage
    asked = {"add_run", "add_run_tags", "get_runs", "get_run_records", "has_run", "delete_run", "wipe"}
    assert asked <= theirs.__abstractmethods__
    takes(theirs.add_run_tags, "run_id", "new_tags")
    has(theirs, "set_cursor_values get_cursor_values add_snapshot has_snapshot")


@EXPECTED("ScheduleStorage")
def schedules() -> None:
    assert {"all_instigator_state", "get_ticks", "create_tick"} <= dagster_storage.ScheduleStorage.__abstractmethods__


@EXPECTED("RunStorageSqlMetadata", "RunTagsTable")
def tables_of_runs() -> None:
    tables = dagster_storage.RunStorageSqlMetadata
    has(tables.tables["runs"].c, "run_id status")
    has(dagster_storage.RunTagsTable.c, "run_id key value")
    # What stays a database's own when another is copied into it.
    assert {"daemon_heartbeats", "instance_info", "secondary_indexes"} <= set(tables.tables)
    assert len(tables.sorted_tables) == len(tables.tables)


@EXPECTED("ScheduleStorageSqlMetadata")
def tables_of_schedules() -> None:
    assert {"job_ticks", "secondary_indexes"} <= set(dagster_storage.ScheduleStorageSqlMetadata.tables)
