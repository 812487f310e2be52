"""How is Dagster's local event log kept, so that an event costs little?

Stock SQLite storage opens an engine for each event and waits for the disk twice; here the engine is kept, and in WAL
mode `synchronous=NORMAL` waits at checkpoints only: a power cut may lose the last events, never tear the log.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as db
from dagster import StringSource
from dagster._core.storage.event_log import ConsolidatedSqliteEventLogStorage
from dagster._core.storage.sql import create_engine
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from sqlalchemy.pool import QueuePool

from ml_platform.artifacts.home import dagster_home


class KeptEngineSqliteEventLogStorage(ConsolidatedSqliteEventLogStorage):
    """Dagster's consolidated SQLite event log with one engine per process."""

    _engine: db.Engine | None = None

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Takes an optional folder; by default `storage` in the instance's own."""
        from dagster import Field

        return {"base_dir": Field(StringSource, is_required=False)}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "KeptEngineSqliteEventLogStorage":
        """Builds the storage from `dagster.yaml`."""
        base = config_value.get("base_dir") or str(dagster_home() / "storage")
        return cls(base_dir=base, inst_data=inst_data)

    def _kept_engine(self) -> db.Engine:
        if self._engine is None:
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


def _set_synchronous(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA synchronous=NORMAL")
