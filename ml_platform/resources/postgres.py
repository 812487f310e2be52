"""How is Dagster's storage in PostgreSQL kept, so that asking costs little and a server's restart fails no run?

Stock storage connects anew for each statement and looks before each read of a run whether its columns are there; a
statement that is cut off by the server's fall fails the run. Here a process keeps its connection, and asks again for up
to a minute. An event whose commit was not answered for may then stand in the log twice.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from inspect import isfunction
from typing import Any, TypeVar

import sqlalchemy as db
from dagster import EventLogEntry
from dagster._core.storage.event_log.base import EventLogStorage
from dagster._core.storage.runs.base import RunStorage
from dagster._core.storage.schedules.base import ScheduleStorage
from dagster._serdes import ConfigurableClassData
from dagster_postgres import (
    DagsterPostgresStorage,
    PostgresEventLogStorage,
    PostgresRunStorage,
    PostgresScheduleStorage,
)
from dagster_postgres.utils import pg_url_from_config

from ml_platform.databases import own_after_fork, through_outages
from ml_platform.resources.event_log import with_own_data_version

_ELSEWHERE = {"watch", "end_watch", "wipe", "upgrade"}  # not for the database, or not to be repeated
Storage = TypeVar("Storage", bound=type)


def _patient(of: type) -> Callable[[Storage], Storage]:
    """Has everything that a kind of storage can be asked go through outages."""

    def decorate(storage: Storage) -> Storage:
        for name in of.__abstractmethods__ - _ELSEWHERE:  # type: ignore[attr-defined]
            method = getattr(storage, name)
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
    """Gives this process's engine; one connection is kept, more are closed after use."""
    return own_after_fork(
        db.create_engine(url, isolation_level="AUTOCOMMIT", pool_pre_ping=True, pool_size=1, max_overflow=10)
    )


class _Kept:
    """A storage whose connection is kept."""

    def __init__(self, postgres_url: str, should_autocreate_tables: bool = True, inst_data: Any = None):
        super().__init__(postgres_url, should_autocreate_tables, inst_data)  # type: ignore[call-arg]
        self._engine = _engine_of(postgres_url)

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Mapping[str, Any]) -> Any:
        """Builds the storage from `dagster.yaml`: `postgres_url`, or `postgres_db` with its parts."""
        url, make = pg_url_from_config(config_value), config_value.get("should_autocreate_tables", True)
        return through_outages(lambda: cls(url, make, inst_data))


@_patient(RunStorage)
class KeptPostgresRunStorage(_Kept, PostgresRunStorage):
    """Dagster's runs."""

    @functools.cached_property
    def _has_run_stats(self) -> bool:
        return super().has_run_stats_index_cols()

    def has_run_stats_index_cols(self) -> bool:
        """Whether the columns of this version are there; looked up once."""
        return self._has_run_stats


@_patient(EventLogStorage)
class KeptPostgresEventLogStorage(_Kept, PostgresEventLogStorage):
    """Dagster's event log, in which each partition has its own data version."""

    def store_event(self, event: EventLogEntry) -> None:
        """Stores an event; that of a partition with the partition's own data version."""
        super().store_event(with_own_data_version(event))

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Stores events; those of partitions with the partitions' own data versions."""
        own = [with_own_data_version(event) for event in events]
        through_outages(lambda: super(KeptPostgresEventLogStorage, self).store_event_batch(own))


@_patient(ScheduleStorage)
class KeptPostgresScheduleStorage(_Kept, PostgresScheduleStorage):
    """The state of schedules and sensors."""


class KeptPostgresStorage(DagsterPostgresStorage):
    """All of Dagster's storage, in one database; in `dagster.yaml`, under `storage`, `custom`."""

    def __init__(self, postgres_url: str, should_autocreate_tables: bool = True, inst_data: Any = None):
        super(DagsterPostgresStorage, self).__init__()  # not the stock one's own, which would make stock storages
        self.postgres_url, self.should_autocreate_tables = postgres_url, should_autocreate_tables
        self._inst_data = inst_data
        self._run_storage = KeptPostgresRunStorage(postgres_url, should_autocreate_tables)
        self._event_log_storage = KeptPostgresEventLogStorage(postgres_url, should_autocreate_tables)
        self._schedule_storage = KeptPostgresScheduleStorage(postgres_url, should_autocreate_tables)

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "KeptPostgresStorage":
        """Builds the storage from `dagster.yaml`: `postgres_url`, or `postgres_db` with its parts."""
        url, make = pg_url_from_config(config_value), config_value.get("should_autocreate_tables", True)
        return through_outages(lambda: cls(url, make, inst_data))

    @property
    def run_storage_data(self) -> ConfigurableClassData | None:
        """Says how the runs' storage is built by itself."""
        return self._part("KeptPostgresRunStorage")

    @property
    def event_storage_data(self) -> ConfigurableClassData | None:
        """Says how the event log is built by itself."""
        return self._part("KeptPostgresEventLogStorage")

    @property
    def schedule_storage_data(self) -> ConfigurableClassData | None:
        """Says how the schedules' storage is built by itself."""
        return self._part("KeptPostgresScheduleStorage")

    def _part(self, name: str) -> ConfigurableClassData | None:
        data = self._inst_data
        return None if data is None else ConfigurableClassData(__name__, name, data.config_yaml)
