"""What dagster-postgres does not promise is as the platform needs it."""

import pytest
from dagster_postgres import (
    DagsterPostgresStorage,
    PostgresEventLogStorage,
    PostgresRunStorage,
    PostgresScheduleStorage,
)

from ml_platform.compat import dagster_postgres
from ml_platform.storages import postgres
from ml_platform_tests.compat.expecting import Expected, has, overrides, takes, uses

EXPECTED = Expected(dagster_postgres)


@pytest.mark.parametrize("name", dagster_postgres.__all__)
def test_a_name_is_as_it_is_needed(name: str) -> None:
    EXPECTED.of[name]()


def test_something_is_expected_of_every_name() -> None:
    EXPECTED.is_complete()


@EXPECTED("pg_url_from_config")
def a_url() -> None:
    url = "postgresql://user:word@host:5432/runs"
    parts = {"username": "user", "password": "word", "hostname": "host", "port": 5432, "db_name": "runs"}
    assert dagster_postgres.pg_url_from_config({"postgres_url": url}) == url
    assert dagster_postgres.pg_url_from_config({"postgres_db": parts}) == url


@pytest.mark.parametrize("kind", [PostgresRunStorage, PostgresEventLogStorage, PostgresScheduleStorage])
def test_a_storage_connects_with_the_engine_that_is_put_into_it(kind: type) -> None:
    takes(kind, "postgres_url", "should_autocreate_tables", "inst_data")
    uses(kind.__init__, "_engine")
    uses(kind.connect if hasattr(kind, "connect") else kind._connect, "_engine")


def test_storages_have_the_methods_that_ours_stand_over() -> None:
    overrides(postgres.KeptPostgresRunStorage, PostgresRunStorage, "has_run_stats_index_cols add_run_tags")
    overrides(postgres.KeptPostgresEventLogStorage, PostgresEventLogStorage, "store_event store_event_batch")
    has(PostgresRunStorage, "connect")
    has(PostgresEventLogStorage, "_connect index_transaction")
    takes(PostgresEventLogStorage._store_asset_event, "conn", "event", "event_id")
    takes(PostgresEventLogStorage._store_asset_event_tags, "conn", "events", "event_ids")
    takes(PostgresEventLogStorage.store_asset_check_event, "event", "event_id")


def test_the_storage_of_everything_reads_the_three_that_are_put_into_it() -> None:
    parts = "run_storage_data event_storage_data schedule_storage_data from_config_value"
    overrides(postgres.KeptPostgresStorage, DagsterPostgresStorage, parts)
    takes(DagsterPostgresStorage, "postgres_url", "should_autocreate_tables", "inst_data")
    uses(DagsterPostgresStorage.run_storage.fget, "_run_storage")
    uses(DagsterPostgresStorage.event_log_storage.fget, "_event_log_storage")
    uses(DagsterPostgresStorage.schedule_storage.fget, "_schedule_storage")
    uses(DagsterPostgresStorage.inst_data.fget, "_inst_data")
