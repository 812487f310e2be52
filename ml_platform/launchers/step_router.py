"""Implements Dagster's step handler: routes each step to its launcher, retries evictions and out-of-memory."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import dagster as dg

from ml_platform.compat.dagster import (
    EngineEventData,
    SerializableErrorInfo,
    create_execution_plan,
    execute_plan_iterator,
    serializable_error_info_from_exc_info,
)
from ml_platform.compat.dagster_steps import CheckStepHealthResult, StepHandler, StepHandlerContext, plan_context_of
from ml_platform.launchers.backends.local_steps import LocalSteps, key_of, retries_in, work_in
from ml_platform.launchers.leases.meter import metered
from ml_platform.launchers.leases.schema import EVICTED, OUT_OF_MEMORY, work_of
from ml_platform.launchers.retries import may_repeat, next_launcher
from ml_platform.launchers.routes import Route, as_planned, escalation_of, is_isolated
from ml_platform.launchers.runs.run_launcher import RoutingRunLauncher
from ml_platform.launchers.sizes import format_bytes
from ml_platform.launchers.steps.remote_steps import Fail, RemoteSteps


@dataclass
class _Sent:
    context: StepHandlerContext
    handler: LocalSteps | RemoteSteps


class StepRouter(StepHandler):
    """Sends each step of a run to its launcher.

    A step of the run's own launcher executes in the run's process while nothing else is under way, else in a process
    beside it; one that needs isolation always goes through the launcher.

    Args:
        launcher: gives the launchers by name, and the launch table.
        own: the launcher that this process is on; None if no launcher started it.
        ends_at_once: says of a step and its launcher that this process can do it in a moment.
        beside: takes the steps that execute beside the run's process.
        fail: says in the run's log that a step failed, or is to be tried again.
    """

    def __init__(
        self,
        launcher: RoutingRunLauncher,
        route: Route,
        own: str | None,
        ends_at_once: Callable[[StepHandlerContext, str], bool],
        beside: LocalSteps,
        fail: Fail,
    ):
        self._launcher = launcher
        self._route = route
        self._own = own
        self._ends_at_once = ends_at_once
        self._beside = beside
        self._fail = fail
        self._handlers: dict[str, LocalSteps | RemoteSteps] = {}
        self._here: dict[str, StepHandlerContext] = {}  # waiting for this process
        self._done_here: set[str] = set()  # whose last events are about to be read
        self._sent: dict[str, _Sent] = {}
        self._retried: set[str] = set()  # waiting for their next try

    @property
    def name(self) -> str:
        """Names the handler in a run's log."""
        return "StepRouter"

    def launch_step(self, step_handler_context: StepHandlerContext) -> Iterator[dg.DagsterEvent]:
        """Sends a step to its launcher, or keeps it for this process."""
        context, step_key = step_handler_context, key_of(step_handler_context)
        self._retried.discard(step_key)
        launcher = self._route.of(step_key)
        is_shared = launcher == self._own and not is_isolated(context.step_tags[step_key])
        if is_shared or self._ends_at_once(context, launcher):
            self._here[step_key] = context
            return
        try:
            yield from self._send(context, self._handler(launcher), f"launcher {launcher}")
        except Exception:  # noqa: BLE001  (whatever a launcher raises is its step's failure, told in the run's log)
            self._sent.pop(step_key, None)
            yield self._fail(context, serializable_error_info_from_exc_info(sys.exc_info()))

    def _handler(self, launcher: str) -> LocalSteps | RemoteSteps:
        if launcher not in self._handlers:
            self._handlers[launcher] = self._launcher.steps_of(launcher, self._fail)
        return self._handlers[launcher]

    def _send(
        self, context: StepHandlerContext, handler: LocalSteps | RemoteSteps, where: str
    ) -> Iterator[dg.DagsterEvent]:
        step_key = key_of(context)
        self._sent[step_key] = _Sent(context, handler)
        message = f"Step {step_key} goes to {where}."
        yield dg.DagsterEvent.engine_event(context.get_step_context(step_key), message, EngineEventData())
        yield from handler.launch_step(context)

    def reconcile(self) -> None:
        """Goes on with what waits: a step in this process if nothing would wait for its end, else beside it."""
        # A step in this process blocks the loop: only where nothing else is under way does nobody wait for it.
        if self._here and not self._sent and not self._retried:
            step_key = next(iter(self._here))
            self._execute_here(step_key, self._here.pop(step_key))
            return
        for context in self._here.values():
            list(self._send(context, self._beside, "a process beside the run's"))
        self._here.clear()
        for handler in (self._beside, *self._handlers.values()):
            handler.reconcile()

    def _execute_here(self, step_key: str, context: StepHandlerContext) -> None:
        self._done_here.add(step_key)
        is_reported = False
        try:
            for event in execute_here(context):
                # Dagster's executor says itself that a step failed whose resources could not be set up.
                is_reported = (
                    is_reported or event.is_step_failure or event.is_step_up_for_retry or event.is_resource_init_failure
                )
        except Exception:  # noqa: BLE001  (what goes wrong around a step is the step's failure, not the run's)
            if not is_reported:
                self._fail(context, serializable_error_info_from_exc_info(sys.exc_info()))

    def forget(self, step_key: str, *, is_retried: bool = False) -> None:
        """Drops a step that has ended, or whose try has."""
        self._done_here.discard(step_key)
        sent = self._sent.pop(step_key, None)
        if sent is not None:
            sent.handler.forget(step_key)
        if is_retried:
            self._retried.add(step_key)

    def check_step_health(self, step_handler_context: StepHandlerContext) -> CheckStepHealthResult:
        """Asks where the step was sent; one that ran out of memory or was evicted is started again."""
        step_key = key_of(step_handler_context)
        if step_key in self._here or step_key in self._done_here:
            return CheckStepHealthResult.healthy()
        sent = self._sent.get(step_key) or self._sent_before(step_key, step_handler_context)
        if sent is None:
            return CheckStepHealthResult.unhealthy("the process that executed it is gone")
        found = sent.handler.check_step_health(step_handler_context)
        if found.is_healthy:
            return found
        outcome, reason = sent.handler.outcome_of(step_key), found.unhealthy_reason or ""
        return CheckStepHealthResult.healthy() if self._goes_on(step_handler_context, outcome, reason) else found

    def takes_back(self, event: dg.DagsterEvent, context: StepHandlerContext) -> bool:
        """Whether a step's failure is none yet.

        It ran out of a device's memory and can escalate; or its process was asked to end, and how that came about is
        still to be found.
        """
        error = event.step_failure_data.error if event.is_step_failure else None
        if error is None:
            return False
        if is_out_of_memory(error):
            return self._goes_on(context, OUT_OF_MEMORY, error.message)
        sent = self._sent.get(key_of(context))
        return is_interrupted(event) and sent is not None and isinstance(sent.handler, RemoteSteps)

    def _goes_on(self, context: StepHandlerContext, outcome: str, reason: str) -> bool:
        """Starts a step again whose process is no more, where that is the platform's to do."""
        step_key, run, launches = key_of(context), context.dagster_run, self._launcher.starter.launches
        last = launches.last(run.run_id, step_key)
        if last is not None:
            launches.close_with_outcome(last, outcome, reason)
        tries = launches.tries_of(work_of(run, step_key))
        count = sum(one.outcome == outcome for one in tries)
        escalation = escalation_of(context.step_tags[step_key])
        # Dagster's retry policy is the user's and counts failures of the code; these are the machine's.
        larger = next_launcher(escalation, count) if outcome == OUT_OF_MEMORY else None
        if outcome == EVICTED and may_repeat(count):
            launcher, message = self._route.of(step_key), f"was evicted ({reason})"
        elif larger is not None:
            launcher = larger
            peak = format_bytes(max((one.peak_bytes for one in tries), default=0))
            message = f"ran out of memory on launcher {escalation[count - 1]}, {peak} at its peak ({reason})"
        else:
            return False
        self._say(context, f"Step {step_key} {message}; goes on at launcher {launcher}.")
        self._route = Route(self._route.launcher, {**self._route.elsewhere, as_planned(step_key): launcher})
        self.forget(step_key)
        list(self.launch_step(context))
        return True

    def _say(self, context: StepHandlerContext, message: str) -> None:
        dg.DagsterEvent.engine_event(context.get_step_context(key_of(context)), message, EngineEventData())

    def _sent_before(self, step_key: str, context: StepHandlerContext) -> _Sent | None:
        """Finds a step that an earlier process of this run sent to a launcher; what that one did itself is gone."""
        launcher = self._route.of(step_key)
        if launcher == self._own and not is_isolated(context.step_tags[step_key]):
            return None
        self._sent[step_key] = _Sent(context, self._handler(launcher))
        return self._sent[step_key]

    def terminate_step(self, step_handler_context: StepHandlerContext) -> Iterator[dg.DagsterEvent]:
        """Ends a step where it was sent; one that cannot be ended keeps no other from it."""
        step_key = key_of(step_handler_context)
        self._here.pop(step_key, None)
        sent = self._sent.pop(step_key, None)
        if sent is None:
            return
        try:
            yield from sent.handler.terminate_step(step_handler_context)
        except Exception:  # noqa: BLE001  (told in the run's log)
            error = serializable_error_info_from_exc_info(sys.exc_info())
            message = f"Step {step_key} could not be ended on launcher {self._route.of(step_key)}; it may go on."
            step = step_handler_context.get_step_context(step_key)
            yield dg.DagsterEvent.engine_event(step, message, EngineEventData.engine_error(error))

    def end(self, *, is_canceled: bool) -> None:
        """Leaves nothing behind when the run's process ends before its steps do.

        Steps elsewhere go on, for the process that resumes the run, unless it was canceled.
        """
        if is_canceled:
            for sent in list(self._sent.values()):
                list(self.terminate_step(sent.context))
        for handler in (self._beside, *self._handlers.values()):
            handler.kill()


def execute_here(context: StepHandlerContext) -> Iterator[dg.DagsterEvent]:
    """Executes one step in this process; what happens stands in the event log too, where the executor reads it."""
    plan_context, args = plan_context_of(context), context.execute_step_args
    plan = create_execution_plan(
        plan_context.job,
        run_config=plan_context.run_config,
        step_keys_to_execute=args.step_keys_to_execute,
        known_state=args.known_state,
        repository_load_data=plan_context.execution_plan.repository_load_data,
    )
    events = execute_plan_iterator(
        plan,
        plan_context.job,
        plan_context.dagster_run,
        plan_context.instance,
        retry_mode=args.retry_mode,
        run_config=plan_context.run_config,
    )
    return metered(events, lambda _: work_in(context), retries_in(args), None)


def is_interrupted(event: dg.DagsterEvent) -> bool:
    """Whether a step ended because its process was asked to, whoever asked."""
    error = event.step_failure_data.error if event.is_step_failure else None
    return error is not None and error.cls_name in ("DagsterExecutionInterruptedError", "KeyboardInterrupt")


def is_out_of_memory(error: SerializableErrorInfo) -> bool:
    """Whether a step failed because a device's memory was used up, as torch says it."""
    causes = [error]
    while causes[-1].cause is not None:
        causes.append(causes[-1].cause)
    return any("CUDA out of memory" in one.message or "CUDA error: out of memory" in one.message for one in causes)
