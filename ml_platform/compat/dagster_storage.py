"""Private names of Dagster's storages of runs and schedules, re-exported in one place."""

# What keeps runs and schedules, which of its methods must go through outages, and its tables.
from dagster._core.storage.runs.base import RunStorage
from dagster._core.storage.runs.schema import RunStorageSqlMetadata, RunTagsTable
from dagster._core.storage.schedules.base import ScheduleStorage
from dagster._core.storage.schedules.schema import ScheduleStorageSqlMetadata

__all__ = [
    "RunStorage",
    "RunStorageSqlMetadata",
    "RunTagsTable",
    "ScheduleStorage",
    "ScheduleStorageSqlMetadata",
]
