"""How does each step of a run reach its launcher, and the run's own process do the rest?"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import dagster as dg
from dagster import _check as check
from dagster._core.definitions.executor_definition import multiple_process_executor_requirements
from dagster._core.events import EngineEventData
from dagster._core.execution.api import create_execution_plan, execute_plan_iterator
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode, get_retries_config
from dagster._core.executor.base import Executor
from dagster._core.executor.in_process import InProcessExecutor
from dagster._core.executor.step_delegating import (
    CheckStepHealthResult,
    StepDelegatingExecutor,
    StepHandler,
    StepHandlerContext,
)
from dagster._utils.error import serializable_error_info_from_exc_info
from dagster_shared.error import SerializableErrorInfo

from ml_platform.launchers.local import LocalRunLauncher
from ml_platform.launchers.routes import Route, is_isolated
from ml_platform.launchers.routing import RoutingRunLauncher
from ml_platform.launchers.workers import Cores, LocalSteps, key_of, warm_up


class EndsAtOnce(Protocol):
    """Says whether a step has nothing to compute, so that no launcher need start anything for it."""

    def __call__(self, context: StepHandlerContext, *, computes_alike: bool) -> bool:
        """Looks at a step; `computes_alike` if its launcher has the threads and devices of this process."""
        ...


def _never(context: StepHandlerContext, *, computes_alike: bool) -> bool:
    return False


Fail = Callable[[StepHandlerContext, SerializableErrorInfo], dg.DagsterEvent]

_LOOK_SECONDS = (0.02, 1.0)  # between two looks at the event log: after something happened, and after long nothing
_NO_NAMES = (
    "All steps execute here, whichever launcher they ask for: the instance's {} has no launchers by name "
    "(in dagster.yaml, run_launcher: ml_platform.launchers.RoutingRunLauncher)"
)
_ASK_SECONDS = 20.0  # between two questions to another launcher about one step


class RoutingSteps(StepHandler):
    """Sends each step of a run to its launcher.

    A step of the run's own launcher runs in the run's process while nothing else is under way, else in a process
    beside it, so that nobody waits for it; one that needs isolation always goes through the launcher.

    Args:
        own: the launcher that this process is on; None if no launcher started it.
        handler_of: makes the handler of a launcher's steps.
        ends_at_once: says of a step and its launcher that this process can do it in a moment.
        fail: says in the run's log that a step failed, or is to be tried again.
    """

    def __init__(
        self,
        route: Route,
        own: str | None,
        handler_of: Callable[[str], StepHandler],
        ends_at_once: Callable[[StepHandlerContext, str], bool],
        fail: Fail,
    ):
        self._ends_at_once = ends_at_once
        self._route = route
        self._own = own
        self._handler_of = handler_of
        self._fail = fail
        self._handlers: dict[str, StepHandler] = {}
        self._beside = LocalSteps()
        self._here: list[tuple[str, StepHandlerContext]] = []
        self._sent: dict[str, StepHandler] = {}
        self._asked: dict[str, float] = {}

    @property
    def name(self) -> str:
        """Names the handler in a run's log."""
        return "RoutingSteps"

    def launch_step(self, step_handler_context: StepHandlerContext) -> Iterator[dg.DagsterEvent]:
        """Sends a step to its launcher, or keeps it for this process."""
        step_key = key_of(step_handler_context)
        launcher = self._route.of(step_key)
        is_shared = launcher == self._own and not is_isolated(step_handler_context.step_tags[step_key])
        if is_shared or self._ends_at_once(step_handler_context, launcher):
            self._here.append((step_key, step_handler_context))
            return
        try:
            if launcher not in self._handlers:
                self._handlers[launcher] = self._handler_of(launcher)
            yield from self._send(step_handler_context, self._handlers[launcher], f"launcher {launcher}")
        except Exception:  # noqa: BLE001  (whatever a launcher raises is its step's failure, told in the run's log)
            self.forget(step_key)
            yield self._fail(step_handler_context, serializable_error_info_from_exc_info(sys.exc_info()))

    def _send(self, context: StepHandlerContext, handler: StepHandler, where: str) -> Iterator[dg.DagsterEvent]:
        step_key = key_of(context)
        self._sent[step_key] = handler
        self._asked[step_key] = time.monotonic()
        told = f"Step {step_key} goes to {where}."
        yield dg.DagsterEvent.engine_event(context.get_step_context(step_key), told, EngineEventData())
        yield from handler.launch_step(context)

    def tend(self) -> None:
        """Goes on with what waits: a step of this process if nothing is under way elsewhere, else beside it."""
        if self._here and not self._sent:
            execute_here(self._here.pop(0)[1])
            return
        for _, context in self._here:
            list(self._send(context, self._beside, "a process beside the run's"))
        self._here.clear()
        for handler in (self._beside, *self._handlers.values()):
            if isinstance(handler, LocalSteps):
                handler.tend()

    def forget(self, step_key: str) -> None:
        """Takes note that a step has ended."""
        self._sent.pop(step_key, None)

    def check_step_health(self, step_handler_context: StepHandlerContext) -> CheckStepHealthResult:
        """Asks where the step was sent; other launchers than local ones now and then."""
        step_key = key_of(step_handler_context)
        if any(key == step_key for key, _ in self._here):
            return CheckStepHealthResult.healthy()
        handler = self._sent.get(step_key) or self._resumed(step_key)
        if handler is None:
            return CheckStepHealthResult.unhealthy("the process that executed it is gone")
        now = time.monotonic()
        if not isinstance(handler, LocalSteps) and now - self._asked.get(step_key, 0.0) < _ASK_SECONDS:
            return CheckStepHealthResult.healthy()
        self._asked[step_key] = now
        return handler.check_step_health(step_handler_context)

    def _resumed(self, step_key: str) -> StepHandler | None:
        """Finds the handler of a step that an earlier process of this run sent."""
        launcher = self._route.of(step_key)
        if launcher == self._own:
            return None
        handler = self._handlers.setdefault(launcher, self._handler_of(launcher))
        self._sent[step_key] = handler
        return handler

    def terminate_step(self, step_handler_context: StepHandlerContext) -> Iterator[dg.DagsterEvent]:
        """Ends a step where it was sent."""
        step_key = key_of(step_handler_context)
        self._here = [waiting for waiting in self._here if waiting[0] != step_key]
        handler = self._sent.get(step_key)
        return handler.terminate_step(step_handler_context) if handler is not None else iter(())


def execute_here(context: StepHandlerContext) -> None:
    """Executes one step in this process; what happens stands in the event log, where the executor reads it."""
    plan_context, args = context._plan_context, context.execute_step_args
    loaded = plan_context.execution_plan.repository_load_data
    plan = create_execution_plan(
        plan_context.job,
        run_config=plan_context.run_config,
        step_keys_to_execute=args.step_keys_to_execute,
        known_state=args.known_state,
        repository_load_data=loaded,
    )
    for _ in execute_plan_iterator(
        plan,
        plan_context.job,
        plan_context.dagster_run,
        plan_context.instance,
        retry_mode=args.retry_mode,
        run_config=plan_context.run_config,
    ):
        pass


class _SendingExecutor(StepDelegatingExecutor):
    """Dagster's executor of steps that run elsewhere, which also does what is left to this process."""

    def __init__(self, make_steps: Callable[[Fail], RoutingSteps], retries: RetryMode):
        self._steps = make_steps(self._fail)
        self._last_news = time.monotonic()
        super().__init__(self._steps, retries, check_step_health_interval_seconds=0, should_verify_step=True)

    def _fail(self, context: StepHandlerContext, error: SerializableErrorInfo) -> dg.DagsterEvent:
        known_state = context.execute_step_args.known_state
        assert known_state is not None
        step_context = context.get_step_context(key_of(context))
        return self.log_failure_or_retry_event_after_error(step_context, error, known_state)

    @property
    def _sleep_seconds(self) -> float:
        """Looks often while things happen, seldom while nothing does."""
        shortest, longest = _LOOK_SECONDS
        return min(longest, max(shortest, (time.monotonic() - self._last_news) / 10))

    @_sleep_seconds.setter
    def _sleep_seconds(self, _seconds: float) -> None:
        """Dagster's executor sets a fixed time."""

    def _pop_events(self, instance: Any, run_id: str, seen_storage_ids: set[int]) -> Sequence[dg.DagsterEvent]:
        """Goes on with what waits, then reads what happened."""
        self._steps.tend()
        events = super()._pop_events(instance, run_id, seen_storage_ids)
        for event in events:
            self._last_news = time.monotonic()
            if event.is_step_success or event.is_step_failure or event.is_step_up_for_retry:
                self._steps.forget(str(event.step_key))
        return events


class RoutingExecutor(Executor):
    """Executes a run whose steps ask for launchers.

    In this process, where it is on the launcher of every step and none needs isolation; else step by step, each sent
    to its launcher. A run that no launcher started (`dg launch`) sends every step.
    """

    def __init__(self, retries: RetryMode, ends_at_once: EndsAtOnce):
        self._retries = retries
        self._ends_at_once = ends_at_once

    @property
    def retries(self) -> RetryMode:
        """Whether steps are tried again."""
        return self._retries

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        """Executes the plan."""
        launcher = plan_context.instance.run_launcher
        if not isinstance(launcher, RoutingRunLauncher):
            told = _NO_NAMES.format(type(launcher).__name__)
            yield dg.DagsterEvent.engine_event(plan_context, told, EngineEventData())
            yield from InProcessExecutor(self._retries).execute(plan_context, execution_plan)
            return
        run = plan_context.dagster_run
        recorded = launcher.recorded(run)
        route = recorded or launcher.route(run, _tags_in(plan_context))
        own = recorded.launcher if recorded else None
        steps = execution_plan.get_steps_to_execute_in_topo_order()
        is_whole = own is not None and not route.elsewhere and not any(is_isolated(step.tags) for step in steps)
        if is_whole and not plan_context.resume_from_failure:
            yield from InProcessExecutor(self._retries).execute(plan_context, execution_plan)
            return
        warm_up(plan_context.instance, plan_context.reconstructable_job.get_module())

        def at_once(context: StepHandlerContext, name: str) -> bool:
            return self._ends_at_once(context, computes_alike=_computes_alike(launcher, name))

        sending = _SendingExecutor(
            lambda fail: RoutingSteps(route, own, _handlers_of(launcher), at_once, fail), self._retries
        )
        yield from sending.execute(plan_context, execution_plan)


def _handlers_of(launcher: RoutingRunLauncher) -> Callable[[str], StepHandler]:
    def make(name: str) -> StepHandler:
        handler = launcher.children.kind(name).step_handler
        assert handler is not None, f"launcher {name} takes steps: the route was refused otherwise"
        return launcher.children.using(name, handler)

    return make


def _computes_alike(launcher: RoutingRunLauncher, name: str) -> bool:
    """Whether a launcher's steps have the threads and devices of this process: local ones with as many cores."""
    if not issubclass(launcher.children.class_of(name), LocalRunLauncher):
        return False
    child = launcher.children[name]
    assert isinstance(child, LocalRunLauncher)
    return child.environment().items() <= {**Cores().environment(), **os.environ}.items()


def _tags_in(plan_context: PlanOrchestrationContext) -> Callable[[dg.AssetKey], Mapping[str, str]]:
    graph = plan_context.job.get_definition().asset_layer.asset_graph
    return lambda key: graph.get(key).tags if graph.has(key) else {}


def routing_executor_with(ends_at_once: EndsAtOnce) -> dg.ExecutorDefinition:
    """Gives an executor that sends each step to the launcher that its op tag `ml_platform/launcher` names.

    A launchpad user can say whether steps are tried again, and nothing of pods.

    Args:
        ends_at_once: asked before a step is sent; one that has nothing to compute is left to the run's process.
    """

    @dg.executor(
        name="routing",
        config_schema={"retries": get_retries_config()},
        requirements=multiple_process_executor_requirements(),
    )
    def routing(init_context: dg.InitExecutorContext) -> Executor:
        """Sends each step to the launcher that it asks for."""
        retries: Any = init_context.executor_config["retries"]
        return RoutingExecutor(check.not_none(RetryMode.from_config(retries)), ends_at_once)

    return routing


routing_executor = routing_executor_with(_never)
