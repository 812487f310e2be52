"""Implements the executor that runs some steps in the run's process and routes the others to their launchers."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import dagster as dg

from ml_platform.compat.dagster import (
    EngineEventData,
    ExecutionPlan,
    ExecutionStep,
    PlanOrchestrationContext,
    RetryMode,
    SerializableErrorInfo,
    get_retries_config,
    not_none,
)
from ml_platform.compat.dagster_steps import InProcessExecutor, StepDelegatingExecutor, StepHandlerContext
from ml_platform.launchers.backends.local import LocalRunLauncher
from ml_platform.launchers.backends.local_steps import Cores, LocalSteps, computes_alike, key_of, warm_up, work_of_step
from ml_platform.launchers.leases.meter import metered
from ml_platform.launchers.routes import Route, escalation_of, is_isolated
from ml_platform.launchers.runs.run_launcher import RoutingRunLauncher
from ml_platform.launchers.step_router import StepRouter, is_interrupted
from ml_platform.launchers.steps.remote_steps import Fail

_LOOK_SECONDS = (0.02, 1.0)  # between two looks at the event log: after something happened, and after long nothing
_NO_NAMES = (
    "All steps execute here, whichever launcher they ask for: the instance's {} has no launchers by name "
    "(in dagster.yaml, run_launcher: ml_platform.launchers.RoutingRunLauncher)"
)


class EndsAtOnce(Protocol):
    """Says whether a step has nothing to compute, so that no launcher need start anything for it."""

    def __call__(self, context: StepHandlerContext, *, computes_alike: bool) -> bool:
        """Looks at a step; `computes_alike` if its launcher has the threads and devices of this process."""
        ...


def _never(context: StepHandlerContext, *, computes_alike: bool) -> bool:
    return False


class _SendingExecutor(StepDelegatingExecutor):
    """Dagster's executor of steps that run elsewhere, which also does what is left to this process."""

    def __init__(self, make_steps: Callable[[Fail], StepRouter], retries: RetryMode):
        self._steps = make_steps(self._fail)
        self._last_news = time.monotonic()
        self._is_replaying = False
        self._contexts: dict[str, StepHandlerContext] = {}  # of the steps under way, by key
        super().__init__(self._steps, retries, check_step_health_interval_seconds=0, should_verify_step=True)

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        """Executes the plan; whatever ends it, no process of this machine goes on, and no step of a canceled run."""
        self._is_replaying = plan_context.resume_from_failure
        try:
            yield from super().execute(plan_context, execution_plan)
        finally:
            run = plan_context.instance.get_run_by_id(plan_context.run_id)
            self._steps.end(is_canceled=run is not None and run.status is dg.DagsterRunStatus.CANCELING)

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

    # Dagster's executor assigns the attribute; without a setter that would fail.
    @_sleep_seconds.setter
    def _sleep_seconds(self, _seconds: float) -> None:
        """Dagster's executor sets a fixed time."""

    def _pop_events(self, instance: Any, run_id: str, seen_storage_ids: set[int]) -> Sequence[dg.DagsterEvent]:
        """Goes on with what waits, then reads all that happened."""
        # Dagster's executor has no hook for work of one's own; it calls this in each turn of its loop.
        self._steps.reconcile()
        events: list[dg.DagsterEvent] = []
        while page := super()._pop_events(instance, run_id, seen_storage_ids):
            events += page
            self._last_news = time.monotonic()
        if self._is_replaying:
            self._is_replaying = False
            return list(_replayed(events))
        return [event for event in events if not self._is_taken_back(event)]

    def _is_taken_back(self, event: dg.DagsterEvent) -> bool:
        """Whether an event is not for the executor: a failure after which the step goes on elsewhere."""
        if not (event.is_step_success or event.is_step_failure or event.is_step_up_for_retry):
            return False
        context = self._contexts.get(str(event.step_key))
        if context is not None and self._steps.takes_back(event, context):
            return True
        self._steps.forget(str(event.step_key), is_retried=event.is_step_up_for_retry)
        return False

    def _get_step_handler_context(self, plan_context: Any, steps: Any, active_execution: Any) -> StepHandlerContext:
        handler_context: StepHandlerContext = super()._get_step_handler_context(plan_context, steps, active_execution)
        self._contexts[steps[0].key] = handler_context
        return handler_context


def _replayed(events: Sequence[dg.DagsterEvent]) -> Iterator[dg.DagsterEvent]:
    """Returns what an earlier process of the run left, as Dagster can take it.

    Skips are found again, waits are over, and a step that was interrupted with its process has not failed.
    """
    for event in events:
        if event.is_step_up_for_retry:
            yield event._replace(event_specific_data=event.step_retry_data._replace(seconds_to_wait=None))
        elif not event.is_step_skipped and not is_interrupted(event):
            yield event


class RoutingExecutor(dg.Executor):
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
            message = _NO_NAMES.format(type(launcher).__name__)
            yield dg.DagsterEvent.engine_event(plan_context, message, EngineEventData())
            yield from InProcessExecutor(self._retries).execute(plan_context, execution_plan)
            return
        recorded = launcher.recorded(plan_context.dagster_run)
        steps = execution_plan.get_steps_to_execute_in_topo_order()
        is_whole = recorded is not None and not recorded.elsewhere and not any(_needs_sending(step) for step in steps)
        if is_whole and not plan_context.resume_from_failure:
            events = InProcessExecutor(self._retries).execute(plan_context, execution_plan)
            yield from _metered(events, plan_context, execution_plan)
            return
        route = recorded or launcher.route(plan_context.dagster_run, _tags_in(plan_context))
        sending = self._sending(plan_context, launcher, route, recorded.launcher if recorded else None)
        yield from sending.execute(plan_context, execution_plan)

    def _sending(
        self, plan_context: PlanOrchestrationContext, launcher: RoutingRunLauncher, route: Route, own: str | None
    ) -> _SendingExecutor:
        def at_once(context: StepHandlerContext, name: str) -> bool:
            try:
                return self._ends_at_once(context, computes_alike=_computes_alike(launcher, name))
            except Exception:  # noqa: BLE001  (whatever is wrong, the step says so itself, where it belongs)
                return False

        code = plan_context.reconstructable_job.get_module()
        alike = all(_computes_alike(launcher, name) for name in {route.launcher, *route.elsewhere.values()})
        # Before anything else is sent: the server of step processes imports while the first steps are on their way.
        warm_up(plan_context.instance, code if alike else None)
        beside = LocalSteps(_cores_of(launcher, own))
        return _SendingExecutor(lambda fail: StepRouter(launcher, route, own, at_once, beside, fail), self._retries)


def _needs_sending(step: ExecutionStep) -> bool:
    """Whether a step may have to leave the run's process: it asks for its own, or may escalate to another launcher."""
    return is_isolated(step.tags) or len(escalation_of(step.tags)) > 1


def _metered(
    events: Iterator[dg.DagsterEvent], plan_context: PlanOrchestrationContext, plan: ExecutionPlan
) -> Iterator[dg.DagsterEvent]:
    tries: Counter[str] = Counter()

    def retry_of(step_key: str) -> int:
        tries[step_key] += 1
        return tries[step_key] - 1

    return metered(events, lambda step: work_of_step(plan, plan_context.dagster_run, step), retry_of, None)


def _is_local(launcher: RoutingRunLauncher, name: str) -> bool:
    return issubclass(launcher.children.class_of(name), LocalRunLauncher)


def _computes_alike(launcher: RoutingRunLauncher, name: str) -> bool:
    """Whether a launcher's steps have the environment of this process: local ones with the same cores and variables."""
    if not _is_local(launcher, name):
        return False
    child = launcher.children[name]
    assert isinstance(child, LocalRunLauncher)
    return computes_alike(child.environment())


def _cores_of(launcher: RoutingRunLauncher, own: str | None) -> Cores:
    """Returns the cores that a step of this process's launcher owns."""
    child = launcher.children[own] if own is not None and _is_local(launcher, own) else None
    return child.cores if isinstance(child, LocalRunLauncher) else Cores()


def _tags_in(plan_context: PlanOrchestrationContext) -> Callable[[dg.AssetKey], Mapping[str, str]]:
    graph = plan_context.job.get_definition().asset_layer.asset_graph
    return lambda key: graph.get(key).tags if graph.has(key) else {}


def routing_executor_with(ends_at_once: EndsAtOnce) -> dg.ExecutorDefinition:
    """Returns an executor that sends each step to the launcher that its op tag `ml_platform/launcher` names.

    A launchpad user can say whether steps are tried again, and nothing of pods.

    Args:
        ends_at_once: asked before a step is sent; one that has nothing to compute is left to the run's process.
    """

    @dg.executor(
        name="routing",
        config_schema={"retries": get_retries_config()},
        requirements=dg.multiple_process_executor_requirements(),
    )
    def routing(init_context: dg.InitExecutorContext) -> dg.Executor:
        """Sends each step to the launcher that it asks for."""
        retries: Any = init_context.executor_config["retries"]
        return RoutingExecutor(not_none(RetryMode.from_config(retries)), ends_at_once)

    return routing


routing_executor = routing_executor_with(_never)
