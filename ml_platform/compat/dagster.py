"""Private names of Dagster that the platform relies on, re-exported in one place: those that `import dagster` loads."""

from typing import Any, TypeVar

from dagster import DagsterInstance

# A check that satisfies the type checker too.
from dagster._check import not_none

# A launcher's part of an instance's YAML is looked at without building the launcher.
from dagster._config import process_config, resolve_to_config_type

# The tag in which an event names the data version of what was made.
from dagster._core.definitions.data_version import DATA_VERSION_TAG

# Which events are about assets and checks; what stands in events that launchers and executors write.
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS, EngineEventData

# Plans are made to read routes from, and to execute one step in the run's process.
from dagster._core.execution.api import create_execution_plan, execute_plan_iterator
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan.handle import StepHandle
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.plan.step import ExecutionStep, StepKind

# Whether an executor tries steps again.
from dagster._core.execution.retries import RetryMode, get_retries_config
from dagster._core.instance import MayHaveInstanceWeakref

# What a process is told of its instance.
from dagster._core.instance.ref import InstanceRef

# What a run launcher is, what it is told, and what it says of a run's process.
from dagster._core.launcher import (
    CheckRunHealthResult,
    LaunchRunContext,
    ResumeRunContext,
    RunLauncher,
    WorkerStatus,
)

# The limits by which runs leave the queue.
from dagster._core.run_coordinator.queued_run_coordinator import RunQueueConfig

# Runs that are not over.
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

# Tags in which a run names its partitions.
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

# What an instance's YAML builds, and what it says of how to.
from dagster._serdes import ConfigurableClass, ConfigurableClassData

# How a failure stands in the event log.
from dagster._utils.error import serializable_error_info_from_exc_info

# A step's process is interrupted as Dagster's own are.
from dagster._utils.interrupts import capture_interrupts

# A project's definitions, and what wraps a mistake in them.
from dagster.components.core.component_tree import ComponentTreeException
from dagster.components.definitions import LazyDefinitions
from dagster_shared.error import SerializableErrorInfo

# A changed copy of what Dagster keeps in a record.
from dagster_shared.record import replace

__all__ = [
    "ASSET_CHECK_EVENTS",
    "ASSET_EVENTS",
    "ASSET_PARTITION_RANGE_END_TAG",
    "ASSET_PARTITION_RANGE_START_TAG",
    "DATA_VERSION_TAG",
    "NOT_FINISHED_STATUSES",
    "PARTITION_NAME_TAG",
    "CheckRunHealthResult",
    "ComponentTreeException",
    "ConfigurableClass",
    "ConfigurableClassData",
    "EngineEventData",
    "ExecutionPlan",
    "ExecutionStep",
    "InstanceRef",
    "LaunchRunContext",
    "LazyDefinitions",
    "PlanOrchestrationContext",
    "ResumeRunContext",
    "RetryMode",
    "RunLauncher",
    "RunQueueConfig",
    "SerializableErrorInfo",
    "StepHandle",
    "StepKind",
    "WorkerStatus",
    "capture_interrupts",
    "create_execution_plan",
    "execute_plan_iterator",
    "get_retries_config",
    "instance_of",
    "not_none",
    "process_config",
    "replace",
    "resolve_to_config_type",
    "serializable_error_info_from_exc_info",
    "storage_of_runs",
    "url_of_storage",
]

Instance = TypeVar("Instance", bound=DagsterInstance)


def instance_of(launcher: MayHaveInstanceWeakref[Instance]) -> Instance:
    """Returns the instance that a launcher was registered with."""
    return launcher._instance


def storage_of_runs(instance: DagsterInstance | InstanceRef) -> Any:
    """Returns what keeps an instance's runs, taken out of what wraps it where one storage keeps everything."""
    storage: Any = instance.run_storage
    while hasattr(storage, "_storage"):
        storage = storage._storage.run_storage
    return storage


def url_of_storage(storage: Any) -> Any:
    """Returns the URL of a storage's database; None where it has none."""
    return getattr(storage, "postgres_url", None) or getattr(storage, "_conn_string", None)
