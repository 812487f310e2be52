"""Starts single steps on remote launchers without blocking the run."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from dagster import DagsterEvent

from ml_platform.compat.dagster import EngineEventData, SerializableErrorInfo, serializable_error_info_from_exc_info
from ml_platform.compat.dagster_steps import CheckStepHealthResult, StepHandler, StepHandlerContext
from ml_platform.databases import is_outage
from ml_platform.launchers.backends.local_steps import key_of, retries_in, work_in
from ml_platform.launchers.backends.protocol import LaunchStatus, RetryLater, State, Timeouts
from ml_platform.launchers.leases.schema import DIED, ENDED, EVICTED, OUT_OF_MEMORY, REFUSED, Launch
from ml_platform.launchers.leases.table import Launches
from ml_platform.launchers.retries import REPEATS, may_start_over, pause_after_death_seconds, pause_seconds

Fail = Callable[[StepHandlerContext, SerializableErrorInfo], DagsterEvent]

_ASK_SECONDS = 5.0  # between two questions to a launcher about one step
_SOON_SECONDS = 0.5
_AT_ONCE = 8  # steps that are being started, or asked about


class StepBackend(Protocol):
    """The part of a backend that steps need."""

    def look(self, launch: Launch) -> LaunchStatus:
        """Looks for what was started for it."""
        ...

    def end(self, launch: Launch) -> None:
        """Ends it; to be repeated until it is gone."""
        ...


class CreatesSteps(Protocol):
    """Creates what executes a step on one launcher."""

    @property
    def backend(self) -> StepBackend:
        """Returns what can be asked about it then."""
        ...

    def create(self, launch: Launch, context: StepHandlerContext) -> Sequence[DagsterEvent]:
        """Creates it, or finds what was created for the same launch.

        Raises:
            RetryLater: not now.
        """
        ...


@dataclass
class _Step:
    context: StepHandlerContext
    launch: Launch | None = None
    creating: "Future[Launch] | None" = None
    looking: "Future[tuple[Launch, LaunchStatus]] | None" = None
    due: float = 0.0  # of what is to be done next, as of `time.monotonic`
    was_found_dead: bool = False
    dead: str | None = None  # why it will not end by itself any more


class RemoteSteps(StepHandler):
    """Sends the steps of a run to one launcher; whatever takes time happens in threads.

    Args:
        fail: says in the run's log that a step failed, or is to be tried again.
    """

    def __init__(self, launcher: str, creator: CreatesSteps, launches: Launches, timeouts: Timeouts, fail: Fail):
        self._launcher = launcher
        self._creator = creator
        self._launches = launches
        self._timeouts = timeouts
        self._fail = fail
        self._steps: dict[str, _Step] = {}
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix=f"launcher-{launcher}")

    @property
    def name(self) -> str:
        """Names the handler in a run's log."""
        return type(self._creator).__name__

    def launch_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        """Starts a step in a thread; returns at once."""
        self._steps[key_of(step_handler_context)] = step = _Step(step_handler_context)
        step.creating = self._pool.submit(self._create, step_handler_context)
        yield from ()

    def _create(self, context: StepHandlerContext) -> Launch:
        retry = retries_in(context.execute_step_args)(key_of(context))
        launch = self._launches.intend(work_in(context), self._launcher, retry=retry)
        if launch.retry < retry or launch.ending is not None or launch.launcher != self._launcher:
            self._end_if_silent(launch)
            raise _Ending
        if launch.created is None and launch.acquired is None:
            self._creator.create(launch, context)
        return self._launches.get(launch.id)

    def _end_if_silent(self, former: Launch) -> None:
        """Ends the try before, whose process reported its failure and died before it released the lease."""
        last = former.renewed or former.acquired
        if former.ending is None and last is not None and time.time() - last > self._timeouts.grace_seconds:
            self._launches.end(former)  # the reconciler closes it when nothing of it is left

    def reconcile(self) -> None:
        """Goes on with what was being started or asked, and tries again what waited long enough."""
        now = time.monotonic()
        for step_key, step in list(self._steps.items()):
            if step.creating is not None and step.creating.done():
                self._take(step_key, step, step.creating)
            elif step.looking is not None and step.looking.done():
                looking, step.looking, step.due = step.looking, None, now + _ASK_SECONDS
                if not is_outage(looking.exception()):  # else nothing is known, and it is asked again
                    self._close_with_outcome(step, *looking.result())
            elif step.creating is None and step.looking is None and step.dead is None and now >= step.due:
                if step.launch is None:
                    step.creating = self._pool.submit(self._create, step.context)
                else:
                    step.looking = self._pool.submit(self._look, step.launch)

    def _take(self, step_key: str, step: _Step, creating: "Future[Launch]") -> None:
        step.creating, step.due = None, time.monotonic() + _SOON_SECONDS
        try:
            step.launch = creating.result()
        except _Ending:
            pass  # the try before is about to end; this one is next
        except RetryLater as retry_later:
            self._put_off(step_key, step, retry_later)
        except Exception as error:  # noqa: BLE001  (whatever a launcher raises is its step's failure, told in the run's log)
            if is_outage(error):
                return  # what was created, if anything was, is found at the next try
            launch = self._launches.last(step.context.dagster_run.run_id, step_key)
            if launch is not None and not self._launches.release(launch, REFUSED, str(error), unleased=True):
                step.launch = self._launches.get(launch.id)  # it was started, though nobody said so
                return
            self._fail(step.context, serializable_error_info_from_exc_info(sys.exc_info()))

    def _put_off(self, step_key: str, step: _Step, retry_later: RetryLater) -> None:
        launch = self._launches.last(step.context.dagster_run.run_id, step_key)
        assert launch is not None, "it was intended before the launcher was asked"
        seconds = pause_seconds(self._timeouts, launch, retry_later.seconds)
        now = self._launches.put_off(launch, str(retry_later), time.time() + seconds)
        if now.acquired is not None:
            step.launch = now  # it was started, though nobody said so
            return
        step.due = time.monotonic() + seconds
        message = f"Launcher {self._launcher} is busy: {retry_later}. Step {step_key} waits; "
        message += f"try {now.tries + 1} in {seconds:.0f} s, other steps go on."
        self._say(step.context, message)

    def _look(self, launch: Launch) -> tuple[Launch, LaunchStatus]:
        now = self._launches.get(launch.id)
        if now.is_open:
            return now, self._creator.backend.look(now)
        seen = self._creator.backend.look(now)  # its process said that it ended; only its launcher knows of an eviction
        if seen.state is State.ENDED and seen.outcome in (EVICTED, OUT_OF_MEMORY):
            return now, seen
        return now, LaunchStatus(State.ENDED, now.reason or "its process ended without saying how the step did", ENDED)

    def _close_with_outcome(self, step: _Step, launch: Launch, seen: LaunchStatus) -> None:
        """Takes note of what was found of a step; events that it wrote before it ended are read between two looks."""
        step.launch = launch
        if seen.state in (State.RUNNING, State.UNREACHABLE):
            step.was_found_dead = False
        elif seen.state is State.HELD_UP:  # putting it off fences what was created, which the reconciler removes
            step.launch = None
            self._put_off(key_of(step.context), step, RetryLater(seen.reason))
        elif launch.is_open and launch.acquired is None:
            self._repeat_or_refuse(step, launch, seen.reason)
        elif not step.was_found_dead:
            step.was_found_dead, step.due = True, time.monotonic() + _SOON_SECONDS
        else:
            self._launches.close_with_outcome(launch, seen.outcome, seen.reason)
            step.dead = seen.reason

    def _repeat_or_refuse(self, step: _Step, launch: Launch, reason: str) -> None:
        """Starts over what died before it took its lease; not without end, as it may never be able to."""
        if may_start_over(launch):
            seconds = pause_after_death_seconds(self._timeouts, launch)
            now = self._launches.put_off(launch, reason, time.time() + seconds, died=True)
            step.launch, step.due = (now if now.acquired is not None else None), time.monotonic() + seconds
            self._say(step.context, f"Step {launch.work.step} is started over: it ended before it began ({reason}).")
        elif self._launches.release(launch, REFUSED, reason, unleased=True):
            step.dead = f"it ended before it began, {REPEATS + 1} times: {reason}"

    def check_step_health(self, step_handler_context: StepHandlerContext) -> CheckStepHealthResult:
        """Says what was found last; a step of an earlier process of this run is looked for in the launch table."""
        step_key = key_of(step_handler_context)
        step = self._steps.get(step_key)
        if step is None:
            launch = self._launches.last(step_handler_context.dagster_run.run_id, step_key)
            if launch is None or not launch.is_open:
                return CheckStepHealthResult.unhealthy("no process executes it")
            is_there = launch.created is not None or launch.acquired is not None
            self._steps[step_key] = _Step(step_handler_context, launch if is_there else None)
            return CheckStepHealthResult.healthy()
        return CheckStepHealthResult.healthy() if step.dead is None else CheckStepHealthResult.unhealthy(step.dead)

    def outcome_of(self, step_key: str) -> str:
        """Says how a step's process ended."""
        step = self._steps.get(step_key)
        launch = step.launch if step is not None else None
        return (launch and self._launches.get(launch.id).outcome) or DIED

    def forget(self, step_key: str) -> None:
        """Takes note that a step has ended, or that its try has."""
        self._steps.pop(step_key, None)

    def terminate_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        """Asks for a step's end; the reconciler goes on until nothing of it is left."""
        step_key = key_of(step_handler_context)
        step = self._steps.pop(step_key, None)
        if step is not None and step.creating is not None:
            step.creating.cancel()  # one that waits for its turn
        launch = self._launches.last(step_handler_context.dagster_run.run_id, step_key)
        if launch is not None and launch.is_open:
            self._creator.backend.end(self._launches.end(launch))
        yield from ()

    def kill(self) -> None:
        """Lets go of what is being started or asked; steps elsewhere go on."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _say(self, context: StepHandlerContext, message: str) -> None:
        DagsterEvent.engine_event(context.get_step_context(key_of(context)), message, EngineEventData())


class _Ending(Exception):
    """An earlier try of the step has not ended yet."""
