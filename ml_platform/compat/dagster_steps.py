"""Private names of Dagster's executors and of the processes of steps, re-exported in one place."""

from collections.abc import Callable, Iterator

from dagster import DagsterEvent, DagsterInstance, DagsterRun

# Executors that another one leaves steps to, in this process or elsewhere.
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan.step import ExecutionStep
from dagster._core.executor.in_process import InProcessExecutor
from dagster._core.executor.step_delegating import (
    CheckStepHealthResult,
    StepDelegatingExecutor,
    StepHandler,
    StepHandlerContext,
)

# Plans as they are stored with a run.
from dagster._core.snap import ExecutionPlanSnapshot, snapshot_from_execution_plan
from dagster._core.snap.execution_plan_snapshot import ExecutionStepSnap

# The commands of processes that execute a run, go on with one, or execute a step.
from dagster._grpc.types import ExecuteRunArgs, ExecuteStepArgs, ResumeRunArgs

__all__ = [
    "MODULES_OF_STEPS",
    "CheckStepHealthResult",
    "ExecuteRunArgs",
    "ExecuteStepArgs",
    "ExecutionPlanSnapshot",
    "ExecutionStepSnap",
    "InProcessExecutor",
    "ResumeRunArgs",
    "StepDelegatingExecutor",
    "StepHandler",
    "StepHandlerContext",
    "command_line",
    "plan_context_of",
    "snapshot_from_execution_plan",
    "step_command_body",
    "step_in",
]

# What the process of a step imports of Dagster beyond `import dagster`.
MODULES_OF_STEPS = (
    "dagster._cli.api",
    "dagster._core.instance.factory",
    "dagster._core.storage.migration",
    "dagster._core.storage.upath_io_manager",
    "dagster._core.workspace.autodiscovery",
)


def plan_context_of(context: StepHandlerContext) -> PlanOrchestrationContext:
    """Returns the context of the run that a handler's step is of."""
    return context._plan_context


def step_in(context: StepHandlerContext, step_key: str) -> ExecutionStep:
    """Returns the step that a handler is asked about."""
    return context._steps_by_key[step_key]


def command_line() -> Callable[[], None]:
    """Returns what the `dagster` command does; it is imported now, as few processes need it."""
    from dagster._cli import main

    return main


def step_command_body() -> Callable[[ExecuteStepArgs, DagsterInstance, DagsterRun], Iterator[DagsterEvent]]:
    """Returns what Dagster's command for one step does; it is imported now, with the whole command line."""
    from dagster._cli.api import _execute_step_command_body

    return _execute_step_command_body
