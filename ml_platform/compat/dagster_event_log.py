"""Private names of Dagster's event log, re-exported in one place."""

# What keeps events, and which of its methods must go through outages.
from dagster._core.storage.event_log import ConsolidatedSqliteEventLogStorage
from dagster._core.storage.event_log.base import EventLogStorage

# Its tables.
from dagster._core.storage.event_log.schema import (
    AssetEventTagsTable,
    SqlEventLogStorageMetadata,
    SqlEventLogStorageTable,
)

# An engine as Dagster makes it for SQLite.
from dagster._core.storage.sql import create_engine
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS

__all__ = [
    "SQLITE_BUSY_TIMEOUT_SECONDS",
    "AssetEventTagsTable",
    "ConsolidatedSqliteEventLogStorage",
    "EventLogStorage",
    "SqlEventLogStorageMetadata",
    "SqlEventLogStorageTable",
    "create_engine",
]
