"""Keeps Dagster's event log in SQLite over one engine, with a data version for each partition.

Dagster tags all partitions of a step with one data version; the IO manager says each partition's own in the
metadata of its event, and here the tag is set to it.

Stock SQLite storage opens an engine for each event and waits for the disk twice; here the engine is kept, and in WAL
mode `synchronous=NORMAL` waits at checkpoints only: a power cut may lose the last events, never tear the log.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as db
from dagster import EventLogEntry, StringSource
from sqlalchemy.pool import QueuePool

from ml_platform.artifacts.home import dagster_home
from ml_platform.compat.dagster import ASSET_CHECK_EVENTS, ASSET_EVENTS, DATA_VERSION_TAG
from ml_platform.compat.dagster_event_log import (
    SQLITE_BUSY_TIMEOUT_SECONDS,
    ConsolidatedSqliteEventLogStorage,
    create_engine,
)


class KeptEngineSqliteEventLogStorage(ConsolidatedSqliteEventLogStorage):
    """Dagster's consolidated SQLite event log with one engine per process."""

    _engine: db.Engine | None = None

    def store_event(self, event: EventLogEntry) -> None:
        """Stores an event; that of a partition with the partition's own data version."""
        super().store_event(with_own_data_version(event))

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Stores events in one transaction; those of partitions with the partitions' own data versions.

        Of an asset's events of one kind, the last alone is written to the table of assets: it would be what stays.
        """
        own = [with_own_data_version(event) for event in events]
        with self._connect() as connection:
            ids = [self._insert(connection, event) for event in own]
            of_assets = [(event, id_) for event, id_ in zip(own, ids, strict=True) if _is_of_asset(event)]
            # Each write of this table replaces the row of the asset, so writing all of them would cost time and leave
            # the same.
            last = {(event.dagster_event_type, _asset_of(event)): (event, id_) for event, id_ in of_assets}
            if of_assets:
                self._store_asset_event_tags(connection, *map(list, zip(*of_assets, strict=True)))
            for event, id_ in last.values():
                self._store_asset_event(connection, event, id_)
        for event, id_ in zip(own, ids, strict=True):
            if event.dagster_event_type in ASSET_CHECK_EVENTS:
                self.store_asset_check_event(event, id_)

    def _insert(self, connection: db.Connection, event: EventLogEntry) -> int:
        key: Any = connection.execute(self.prepare_insert_event(event)).inserted_primary_key
        return int(key[0])

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Returns the schema of the configuration: an optional folder, by default `storage` in the instance's own."""
        from dagster import Field

        return {"base_dir": Field(StringSource, is_required=False)}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "KeptEngineSqliteEventLogStorage":
        """Builds the storage from `dagster.yaml`."""
        ask_for_batches()
        base = config_value.get("base_dir") or str(dagster_home() / "storage")
        return cls(base_dir=base, inst_data=inst_data)

    def _kept_engine(self) -> db.Engine:
        if self._engine is None:
            # Threads of one process share the engine; SQLite's own check of threads would refuse connections that the
            # pool hands on.
            arguments = {"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False}
            self._engine = create_engine(self._conn_string, poolclass=QueuePool, connect_args=arguments)
            db.event.listen(self._engine, "connect", _set_synchronous)
        return self._engine

    @contextmanager
    def _connect(self) -> Iterator[db.Connection]:
        with self._kept_engine().connect() as connection, connection.begin():
            yield connection

    def dispose(self) -> None:
        """Closes the engine."""
        super().dispose()
        if self._engine is not None:
            self._engine.dispose()


def _is_of_asset(event: EventLogEntry) -> bool:
    return event.dagster_event_type in ASSET_EVENTS and _asset_of(event) is not None


def _asset_of(event: EventLogEntry) -> Any:
    return event.dagster_event and event.dagster_event.asset_key


def ask_for_batches() -> None:
    """Sets Dagster's variable for storing events in batches, unless it is set already."""
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")


def with_own_data_version(entry: EventLogEntry) -> EventLogEntry:
    """Returns an event with the data version that its metadata names, if it is of a partition and names one."""
    event = entry.dagster_event
    if event is None or not event.is_step_materialization:
        return entry
    data = event.step_materialization_data
    materialization = data.materialization
    named = materialization.metadata.get("data_version")
    if named is None or materialization.partition is None:
        return entry
    # Dagster computes one version from code and inputs of the step, which says nothing of a partition's content.
    tagged = materialization._replace(tags={**(materialization.tags or {}), DATA_VERSION_TAG: str(named.value)})
    return entry._replace(dagster_event=event._replace(event_specific_data=data._replace(materialization=tagged)))


def _set_synchronous(connection: Any, _record: Any) -> None:
    # For each connection: SQLite keeps WAL in the file and this only in the connection.
    connection.execute("PRAGMA synchronous=NORMAL")
