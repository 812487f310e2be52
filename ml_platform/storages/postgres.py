"""Keeps Dagster's storage in PostgreSQL, over kept connections and through restarts of the server.

Stock storage connects anew for each statement and looks before each read of a run whether its columns are there; a
statement that is cut off by the server's fall fails the run. Here a process keeps its connection, and asks again for up
to a minute; what was written before an answer was lost is not written twice.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from inspect import isfunction
from typing import Any, TypeVar

import sqlalchemy as db
from dagster import EventLogEntry, serialize_value

from ml_platform.compat.dagster import ASSET_CHECK_EVENTS, ASSET_EVENTS, ConfigurableClassData
from ml_platform.compat.dagster_event_log import AssetEventTagsTable, EventLogStorage, SqlEventLogStorageTable
from ml_platform.compat.dagster_storage import RunStorage, RunTagsTable, ScheduleStorage
from ml_platform.databases import POSTGRES, own_after_fork, through_outages
from ml_platform.errors import PlatformError
from ml_platform.extras import needing
from ml_platform.storages.sqlite import ask_for_batches, with_own_data_version

with needing("dagster_postgres"):
    from dagster_postgres import (
        DagsterPostgresStorage,
        PostgresEventLogStorage,
        PostgresRunStorage,
        PostgresScheduleStorage,
    )

    from ml_platform.compat.dagster_postgres import pg_url_from_config

_NOT_REPEATED = {"watch", "end_watch", "wipe", "upgrade", "add_run"}  # not asked of the database, or seen by a person
_NOT_REPEATED |= {"add_run_tags", "store_event", "store_event_batch"}  # repeated in ways of their own
_ALSO_REPEATED = {
    "set_cursor_values", "get_cursor_values", "add_snapshot", "has_snapshot", "get_asset_keys", "get_logs_for_run",
    "get_stats_for_run", "get_step_stats_for_run", "get_asset_check_state", "get_concurrency_infos",
    "get_maximum_record_id",
}  # fmt: skip
Storage = TypeVar("Storage", bound=type)


def _retrying(of: type) -> Callable[[Storage], Storage]:
    """Returns a class decorator that repeats the methods of a kind of storage while the database is away."""

    def decorate(storage: Storage) -> Storage:
        # What a storage must implement is what Dagster calls; other methods call these, and are repeated through them.
        for name in (of.__abstractmethods__ | _ALSO_REPEATED) - _NOT_REPEATED:  # type: ignore[attr-defined]
            method = getattr(storage, name, None)
            if isfunction(method):
                setattr(storage, name, _through(method))
        return storage

    return decorate


def _through(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def asked(*arguments: Any, **named: Any) -> Any:
        return through_outages(lambda: method(*arguments, **named))

    return asked


@cache
def _engine_of(url: str) -> db.Engine:
    """Returns this process's engine; one connection is kept, more are closed after use."""
    return own_after_fork(
        db.create_engine(
            url,
            # As Dagster's own engine has it: its statements stand alone, and transactions are opened where it needs
            # one.
            isolation_level="AUTOCOMMIT",
            # A server that restarted closes connections without a word; a ping costs less than a failed statement.
            pool_pre_ping=True,
            pool_size=1,
            max_overflow=10,
            connect_args=POSTGRES,
            hide_parameters=True,  # what runs are configured with is in no error
        )
    )


def _settings(config: Mapping[str, Any]) -> tuple[str, bool]:
    # Its passwords expire, and a kept engine would go on with the first.
    if config.get("auth_provider"):
        raise PlatformError("storage: auth_provider is not supported by KeptPostgresStorage; give a password")
    return pg_url_from_config(config), config.get("should_autocreate_tables", True)


class _Kept:
    """Mixin of a storage that keeps its connection."""

    def __init__(self, postgres_url: str, should_autocreate_tables: bool = True, inst_data: Any = None):
        # The stock constructor builds an engine without a pool, which the next line replaces.
        super().__init__(postgres_url, should_autocreate_tables, inst_data)  # type: ignore[call-arg]
        self._engine = _engine_of(postgres_url)

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Mapping[str, Any]) -> Any:
        """Builds the storage from `dagster.yaml`: `postgres_url`, or `postgres_db` with its parts."""
        ask_for_batches()
        return through_outages(lambda: cls(*_settings(config_value), inst_data))


@_retrying(RunStorage)
class KeptPostgresRunStorage(_Kept, PostgresRunStorage):
    """Dagster's table of runs, over a kept connection."""

    @functools.cached_property
    def _has_run_stats(self) -> bool:
        return super().has_run_stats_index_cols()

    def has_run_stats_index_cols(self) -> bool:
        """Whether the columns of this version are there; looked up once."""
        return self._has_run_stats

    def add_run_tags(self, run_id: str, new_tags: Mapping[str, str]) -> None:
        """Adds tags to a run, and to the table by which runs are found."""
        tries = 0

        def add() -> None:
            nonlocal tries
            tries += 1
            super(KeptPostgresRunStorage, self).add_run_tags(run_id, new_tags)
            # Dagster writes the run's own tags first and the index second, and skips the index for tags that the run
            # has already.
            if tries > 1:
                self._index_tags(run_id, new_tags)

        through_outages(add)

    def _index_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Finishes a try that was cut off after the run had its tags: Dagster takes them for indexed."""
        table = RunTagsTable.c
        with self.connect() as connection:
            connection.execute(db.delete(RunTagsTable).where(table.run_id == run_id, table.key.in_(list(tags))))
            rows = [{"run_id": run_id, "key": key, "value": value} for key, value in tags.items()]
            connection.execute(db.insert(RunTagsTable), rows)


@_retrying(EventLogStorage)
class KeptPostgresEventLogStorage(_Kept, PostgresEventLogStorage):
    """Dagster's event log, in which each partition has its own data version."""

    def store_event(self, event: EventLogEntry) -> None:
        """Stores an event, once; that of a partition with the partition's own data version."""
        own = with_own_data_version(event)
        self._store_once([own], lambda: super(KeptPostgresEventLogStorage, self).store_event(own))

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Stores events, once; those of partitions with the partitions' own data versions."""
        own = [with_own_data_version(event) for event in events]
        self._store_once(own, lambda: super(KeptPostgresEventLogStorage, self).store_event_batch(own))

    def _store_once(self, events: Sequence[EventLogEntry], store: Callable[[], None]) -> None:
        """Stores events through outages: a row that is there already, its answer lost, may have been read."""
        tries = 0

        def once() -> None:
            nonlocal tries
            tries += 1
            # Looked for only in a repeat: whether the first try was written before its answer was lost cannot be known
            # otherwise.
            ids = self._ids_of(events) if tries > 1 else []
            if ids:
                self._finish(events, ids)
            else:
                store()

        through_outages(once)

    def _ids_of(self, events: Sequence[EventLogEntry]) -> list[int]:
        log = SqlEventLogStorageTable.c
        # By the whole serialized event: it holds the time of day to the microsecond, so equal text is the same event.
        same = [(log.run_id == event.run_id) & (log.event == serialize_value(event)) for event in events]
        with self._connect() as connection:
            found = connection.execute(db.select(log.id).where(db.or_(*same)).order_by(log.id))
            return [int(row[0]) for row in found][: len(events)]

    def _finish(self, events: Sequence[EventLogEntry], ids: Sequence[int]) -> None:
        """Does what Dagster does after the rows of events are written."""
        of_assets = [
            (event, id_) for event, id_ in zip(events, ids, strict=True) if event.dagster_event_type in ASSET_EVENTS
        ]
        if of_assets:
            with self.index_transaction() as connection:
                # The cut-off try may have written some of the tags; deleted first, they are not there twice.
                connection.execute(db.delete(AssetEventTagsTable).where(AssetEventTagsTable.c.event_id.in_(ids)))
                self._store_asset_event_tags(connection, *map(list, zip(*of_assets, strict=True)))
                self._store_asset_event(connection, *of_assets[-1])
        for event, id_ in zip(events, ids, strict=True):
            if event.dagster_event_type in ASSET_CHECK_EVENTS:
                self.store_asset_check_event(event, id_)


@_retrying(ScheduleStorage)
class KeptPostgresScheduleStorage(_Kept, PostgresScheduleStorage):
    """The state of schedules and sensors."""


class KeptPostgresStorage(DagsterPostgresStorage):
    """All of Dagster's storage, in one database; in `dagster.yaml`, under `storage`, `custom`."""

    def __init__(self, postgres_url: str, should_autocreate_tables: bool = True, inst_data: Any = None):
        # Its grandparent's constructor, on purpose.
        super(DagsterPostgresStorage, self).__init__()  # not the stock one's own, which would make stock storages
        self.postgres_url, self.should_autocreate_tables = postgres_url, should_autocreate_tables
        self._inst_data = inst_data
        self._run_storage = KeptPostgresRunStorage(postgres_url, should_autocreate_tables)
        self._event_log_storage = KeptPostgresEventLogStorage(postgres_url, should_autocreate_tables)
        self._schedule_storage = KeptPostgresScheduleStorage(postgres_url, should_autocreate_tables)

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "KeptPostgresStorage":
        """Builds the storage from `dagster.yaml`: `postgres_url`, or `postgres_db` with its parts."""
        ask_for_batches()
        return through_outages(lambda: cls(*_settings(config_value), inst_data))

    @property
    def run_storage_data(self) -> ConfigurableClassData | None:
        """Returns how Dagster builds the runs' storage by itself."""
        return self._part("KeptPostgresRunStorage")

    @property
    def event_storage_data(self) -> ConfigurableClassData | None:
        """Returns how Dagster builds the event log by itself."""
        return self._part("KeptPostgresEventLogStorage")

    @property
    def schedule_storage_data(self) -> ConfigurableClassData | None:
        """Returns how Dagster builds the schedules' storage by itself."""
        return self._part("KeptPostgresScheduleStorage")

    def _part(self, name: str) -> ConfigurableClassData | None:
        data = self._inst_data
        return None if data is None else ConfigurableClassData(__name__, name, data.config_yaml)
