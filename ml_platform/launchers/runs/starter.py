"""Starts, retries and closes launches of runs, carrying out the actions that `decisions` chooses."""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import dagster as dg

from ml_platform.compat.dagster import EngineEventData, LaunchRunContext, ResumeRunContext
from ml_platform.databases import is_outage
from ml_platform.errors import LaunchError
from ml_platform.launchers.backends.configured_launchers import ConfiguredLaunchers
from ml_platform.launchers.backends.protocol import Backend, Context, LaunchStatus, RetryLater, State, Timeouts
from ml_platform.launchers.leases.schema import CANCELED, DIED, ENDED, EVICTED, OUT_OF_MEMORY, REFUSED, Launch, work_of
from ml_platform.launchers.leases.table import Launches
from ml_platform.launchers.retries import REPEATS, may_repeat, next_launcher, pause_after_death_seconds, pause_seconds
from ml_platform.launchers.routes import Route, escalation_of
from ml_platform.launchers.runs.coordinator import RoutingRunCoordinator
from ml_platform.launchers.runs.decisions import Action, Circumstances, decide
from ml_platform.launchers.sizes import format_bytes
from ml_platform.launchers.tag_policy import WAITING_TAG, TagPolicy

STARTING, STARTED = dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED


class RunStarter:
    """Starts runs by way of the launch table, and looks after those that were started.

    Every method may be interrupted anywhere and called by several processes at once: what decides is the table.

    Args:
        route_of: reads where a run goes now, escalating where its steps ran out of memory.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        children: ConfiguredLaunchers,
        timeouts: Timeouts,
        route_of: Callable[[dg.DagsterRun], Route],
        tag_policy: TagPolicy,
    ):
        self._instance = instance
        self._children = children
        self._timeouts = timeouts
        self._route_of = route_of
        self._tag_policy = tag_policy
        self._backends: dict[str, Backend] = {}
        self._setting_up = threading.Lock()

    @property
    def launches(self) -> Launches:
        """The launch table of the instance."""
        return Launches.of(self._instance)

    def backend(self, launcher: str) -> Backend:
        """Returns what can be asked about a launcher's launches.

        Raises:
            LaunchError: the launcher cannot be set up.
        """
        with self._setting_up:  # one for a launcher, however many threads launch: it replaces the launcher's client
            if launcher not in self._backends:
                make = self._children.backend_spec(launcher).backend
                self._backends[launcher] = self._children.using(
                    launcher, lambda child: make(child, self.launches, self._timeouts)
                )
            return self._backends[launcher]

    # Starting

    def start(self, launch: Launch, context: Context) -> None:
        """Starts the process of a run's launch; puts it off while its launcher asks to be tried later.

        Raises:
            LaunchError: it can never be started like this; the launch is closed.
        """
        if not launch.is_open:
            return
        if launch.acquired is not None:
            self._say(context.dagster_run, f"Not started again: process {launch.pid} on {launch.host} executes it.")
            return
        if launch.is_waiting(time.time()):
            self._wait_for(launch, context.dagster_run)
            return
        try:
            self.backend(launch.launcher).start(launch, self._within_policy(context))
        except RetryLater as retry_later:
            self._put_off(launch, context, _busy(launch, str(retry_later)), retry_later.seconds)
        except Exception as error:
            if is_outage(error):
                self._put_off(launch, context, f"The database was away: {error}", 0.0)
                return
            # Only if no process has the lease: it may be at work although starting it seemed to fail.
            self.launches.release(launch, REFUSED, str(error), unleased=True)
            raise

    def _within_policy(self, context: Context) -> Context:
        """Hides tags from a launcher that a run may not have, whichever way it came here."""
        return context._replace(dagster_run=self._tag_policy.launched_as(self._instance, context.dagster_run))

    def _put_off(self, launch: Launch, context: Context, reason: str, seconds: float) -> None:
        """Tries again later; what was started meanwhile, if anything was, can do nothing any more."""
        # The table first, then the queue: what dies in between leaves a launch that the reconciler tries again.
        seconds = pause_seconds(self._timeouts, launch, seconds)
        now = self.launches.put_off(launch, reason, time.time() + seconds)
        if now.acquired is not None or not now.is_open:
            return  # it was started, though nobody said so
        message = f"{reason}. Waits; try {now.tries + 1} in {seconds:.0f} s, other launchers go on."
        self._wait_for(now, context.dagster_run, message)

    def _wait_for(self, launch: Launch, run: dg.DagsterRun, message: str = "Waits still.") -> None:
        """Puts a run that waits back into the queue, out of the way of others; it says why."""
        # Asked again, as somebody may have canceled it meanwhile: an enqueued event would bring it back to life.
        found = self._instance.get_run_by_id(run.run_id)
        if found is None or found.status is not STARTING:
            if found is not None and not found.is_finished:
                self._say(found, message)
        elif isinstance(self._instance.run_coordinator, RoutingRunCoordinator):
            self._instance.add_run_tags(run.run_id, {WAITING_TAG: str(launch.waiting_until)})
            self.enqueue(found, message)
        else:
            self._say(found, message)  # the reconciler tries again

    def enqueue(self, run: dg.DagsterRun, message: str) -> None:
        """Puts a run back into the queue, and says why."""
        event = dg.DagsterEvent(dg.DagsterEventType.PIPELINE_ENQUEUED.value, run.job_name, message=message)
        self._instance.report_dagster_event(event, run_id=run.run_id)

    # Looking after

    def reconcile(self, launch: Launch) -> Launch:
        """Does what is to be done about an open launch of a run; returns the launch as it is then."""
        self._act_on(launch, self._instance.get_run_by_id(launch.work.run_id))
        return self.launches.get(launch.id)

    def end(self, launch: Launch) -> None:
        """Asks for a launch's end: from now on nothing takes its lease, and its process is asked to stop."""
        run = self._instance.get_run_by_id(launch.work.run_id)
        self._act_on(self.launches.end(launch), run, is_to_end=True)

    def _act_on(self, launch: Launch, run: dg.DagsterRun | None, *, is_to_end: bool = False) -> None:
        """Does what `decide` says; the one place that changes anything about an open launch."""
        at, seen = self._circumstances(run, is_to_end or launch.ending is not None), None
        while (action := decide(launch, run, seen, at)) in (Action.LOOK, Action.ASK_TO_END):
            if action is Action.LOOK:
                seen = self._look_if_leased(launch)
            else:
                launch, at = self.launches.end(launch), replace(at, is_to_end=True)
        if action is not Action.WAIT:
            self._apply(action, launch, run, seen)

    def _apply(self, action: Action, launch: Launch, run: dg.DagsterRun | None, seen: LaunchStatus | None) -> None:
        if action in (Action.END, Action.END_AND_CLOSE):
            self._end(launch)
        if action in (Action.CLOSE, Action.END_AND_CLOSE):
            self._close(launch, run, seen.reason if seen is not None else "")
        if action in (Action.END, Action.CLOSE, Action.END_AND_CLOSE):
            return
        assert run is not None, f"{action} is for launches of runs that exist"
        if action is Action.TRY_AGAIN:
            self._again(launch, run)
        elif action is Action.START_OVER:
            self._start_over(launch, run, "whoever was to start it did not")
        else:
            assert seen is not None, f"{action} follows from what the backend answered"
            self._apply_seen(action, launch, run, seen)

    def _apply_seen(self, action: Action, launch: Launch, run: dg.DagsterRun, seen: LaunchStatus) -> None:
        why = f"it ended before it began: {seen.reason}"
        if action is Action.REPEAT:
            self._start_over(launch, run, why, pause_after_death_seconds(self._timeouts, launch), died=True)
        elif action is Action.REFUSE:
            if self.launches.release(launch, REFUSED, why, unleased=True):
                self._instance.report_run_failed(run, f"Not launched, after {REPEATS + 1} tries: {why}.")
        elif action is Action.PUT_OFF:
            self._put_off(launch, LaunchRunContext(run, None), _busy(launch, seen.reason), 0.0)
        else:
            self._close_dead(launch, run, seen)

    def _circumstances(self, run: dg.DagsterRun | None, is_to_end: bool) -> Circumstances:
        now = time.time()
        is_over = run is None or run.is_finished or is_to_end
        return Circumstances(
            now=now,
            grace_seconds=self._timeouts.grace_seconds,
            run_ended=_end_time(self._instance, run) if is_over else now,  # not asked where it does not matter
            is_to_end=is_to_end,
            is_requeuing=isinstance(self._instance.run_coordinator, RoutingRunCoordinator),
        )

    def _look_if_leased(self, launch: Launch) -> LaunchStatus:
        """Asks the backend, unless it is about a lease that nothing it starts will ever take."""
        is_awaited = launch.acquired is None and launch.ending is None and launch.is_open
        if is_awaited and not self._backend_acquires_lease(launch):
            return LaunchStatus(State.RUNNING, "its launcher is believed")
        return self.look(launch)

    def look(self, launch: Launch) -> LaunchStatus:
        """Asks the backend about a launch; a launcher that cannot be set up counts as unreachable, never as gone."""
        try:
            return self.backend(launch.launcher).look(launch)
        except LaunchError as error:
            return LaunchStatus(State.UNREACHABLE, str(error))

    def _end(self, launch: Launch) -> None:
        with suppress(RetryLater, LaunchError):  # it is asked again at the next look, until it is gone
            self.backend(launch.launcher).end(launch)

    def _close(self, launch: Launch, run: dg.DagsterRun | None, reason: str) -> None:
        """Closes a launch whose work is over or not wanted, and of which nothing is left."""
        run = run and self._instance.get_run_by_id(run.run_id)
        if run is not None and run.status is dg.DagsterRunStatus.CANCELING:
            # Before the launch is closed: whoever is killed in between leaves it to the next look.
            self._instance.report_run_canceled(run, "Nothing of the run is left on its launcher.")
        was_finished = run is None or run.status in (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE)
        self.launches.release(launch, ENDED if was_finished else CANCELED, reason)

    def _backend_acquires_lease(self, launch: Launch) -> bool:
        try:
            return self.backend(launch.launcher).acquires_lease
        except LaunchError:
            return False

    def _start_over(
        self, launch: Launch, run: dg.DagsterRun, why: str, seconds: float = 0.0, *, died: bool = False
    ) -> None:
        """Fences what was started for a launch, and starts it again."""
        now = self.launches.put_off(launch, why, time.time() + seconds, died=died)
        if now.acquired is None and now.is_open and now.fencing_token > launch.fencing_token:
            self._say(run, f"Started over: {now.reason}.")
            self._again(now, run)

    def _again(self, launch: Launch, run: dg.DagsterRun) -> None:
        """Tries a launch again, in this process."""
        resume = ResumeRunContext(run, None, launch.attempt - 1)
        try:
            self.start(launch, resume if run.status is STARTED else LaunchRunContext(run, None))
        except Exception as error:  # noqa: BLE001  (as Dagster's daemon does: what cannot be started has failed)
            self._instance.report_run_failed(run, f"Not launched: {error}")

    def _close_dead(self, launch: Launch, run: dg.DagsterRun, seen: LaunchStatus) -> None:
        """Closes the launch of a process that is no more, with those of the steps that it executed."""
        # Steps first: once the run's launch is closed another one is opened, whose steps would find theirs open.
        within = [one for one in self.launches.of_run(run.run_id) if one.within == launch.id and one.is_open]
        for step in within:
            self.launches.release(step, seen.outcome, seen.reason)
        if self.launches.release(launch, seen.outcome, seen.reason):
            self.go_on(run)

    def go_on(self, run: dg.DagsterRun) -> bool:
        """Starts a run again whose last process is no more, where that is the platform's to do."""
        last, now = self.launches.last(run.run_id), self._instance.get_run_by_id(run.run_id)
        if last is None or last.is_open or now is None or now.status not in (STARTING, STARTED):
            return False
        if last.outcome == ENDED:
            seen = self.look(last)  # its process said that it ended; only its launcher knows of an eviction
            if seen.state is State.ENDED and seen.outcome == EVICTED:
                self.launches.close_with_outcome(last, seen.outcome, seen.reason)
                last = self.launches.get(last.id)
        if not self._is_ours_to_repeat(last, now):
            return False
        self.restart(now, last)
        return True

    def restart(self, run: dg.DagsterRun, last: Launch | None) -> None:
        """Opens another launch for a run whose last one is closed: where that was, or where there is more memory."""
        route = last.route if last is not None and last.outcome != OUT_OF_MEMORY else None
        route = route or self._route_of(run)
        self._say(run, f"Goes on at {route}.")
        self._again(self.launches.intend(work_of(run), route.launcher, route), run)

    def _is_ours_to_repeat(self, last: Launch, run: dg.DagsterRun) -> bool:
        """Whether it died before the run began, was evicted, or ran out of memory and can escalate."""
        rows = self.launches.of_run(run.run_id)
        before = [one for one in rows if not one.work.step and one.outcome == last.outcome]
        if last.outcome == EVICTED or (last.outcome in (DIED, OUT_OF_MEMORY) and run.status is STARTING):
            if may_repeat(len(before)):
                self._say(run, f"Its process is gone, for the {len(before)}. time of at most {REPEATS}: {last.reason}.")
            return may_repeat(len(before))
        if last.outcome != OUT_OF_MEMORY:
            return False
        steps = [one.work.step for one in rows if one.within == last.id and one.outcome == OUT_OF_MEMORY]
        can_escalate = [
            next_launcher(self._escalation_of(run, step), self.level_of(run, step)) is not None for step in steps
        ]
        if steps and all(can_escalate):
            self._say(run, f"On {last.launcher}, with {format_bytes(last.peak_bytes)} at its peak: {last.reason}.")
            return True
        return False

    def finalize(self, run: dg.DagsterRun, last: Launch) -> bool:
        """Reports how a run ended that seems to be starting and that nobody goes on with; False if it goes on."""
        now = self._instance.get_run_by_id(run.run_id)
        if now is None or now.status is not STARTING:
            return False
        ends = {dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED}
        ended = self._instance.get_records_for_run(run.run_id, of_type=ends).records
        if ended:  # a daemon that was slow set it back
            event = ended[-1].event_log_entry.get_dagster_event()
            self._instance.report_dagster_event(event, run_id=run.run_id)
        else:
            self._instance.report_run_failed(now, f"Not started, and not to be tried again: {why_closed(last)}.")
        return True

    def level_of(self, run: dg.DagsterRun, step: str) -> int:
        """Counts how often a step ran out of memory, in this run and those that it tries again."""
        tries = self.launches.tries_of(work_of(run, step))
        return sum(one.outcome == OUT_OF_MEMORY for one in tries)

    def _escalation_of(self, run: dg.DagsterRun, step: str) -> tuple[str, ...]:
        assert run.execution_plan_snapshot_id is not None
        plan = self._instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id)
        tags: Mapping[str, Any] = next((one.tags or {} for one in plan.steps if one.key == step), {})
        return escalation_of(tags)

    def _say(self, run: dg.DagsterRun, message: str, data: EngineEventData | None = None) -> None:
        self._instance.report_engine_event(message, run, data, cls=type(self))


def why_closed(launch: Launch) -> str:
    """Says how a launch ended, and what would help."""
    message = f"{launch.outcome}; {launch.reason}"
    if launch.outcome != OUT_OF_MEMORY:
        return message
    peak = format_bytes(launch.peak_bytes)
    return f"{message}, with {peak} at its peak; no launcher to escalate to (launcher: [cpu, highmem] names two)"


def _busy(launch: Launch, why: str) -> str:
    return f"Launcher {launch.launcher} is busy: {why}"


def _end_time(instance: dg.DagsterInstance, run: dg.DagsterRun | None) -> float:
    """Returns when a run ended, or was deleted; now for one that has not."""
    if run is None:
        return 0.0
    record = instance.get_run_record_by_id(run.run_id)
    return record.end_time if record is not None and record.end_time is not None else time.time()
