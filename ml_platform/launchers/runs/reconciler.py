"""Who looks after launches that nobody else does: what is to end, what was lost, what nobody needs?"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from ml_platform.errors import LaunchError
from ml_platform.launchers.backends.protocol import Busy, Stray
from ml_platform.launchers.leases.schema import Launch
from ml_platform.launchers.runs.coordinator import RoutingRunCoordinator
from ml_platform.launchers.runs.run_launcher import routing_launcher_of

_UNDER_WAY = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)


@dataclass
class Pass:
    """What one look at everything found and did.

    Attributes:
        open: launches that were open.
        closed: those among them that are not any more.
        requeued: runs that were to be started, and by nobody.
        removed: jobs that no launch needed.
        problems: what could not be looked at or done, and is tried again the next time.
    """

    open: int = 0
    closed: int = 0
    requeued: int = 0
    removed: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        told = f"{self.open} open, {self.closed} closed, {self.requeued} queued again, {self.removed} jobs removed"
        return "; ".join([told, *self.problems])

    @property
    def is_quiet(self) -> bool:
        """Whether there was nothing to do."""
        return not (self.closed or self.requeued or self.removed or self.problems)


class Reconciler:
    """Brings the launch table, the launchers and Dagster's runs together, as often as it is asked.

    Any number may be at work at once, also killed anywhere: each thing that is done is one conditional statement of the
    launch table, or may be done twice.

    Args:
        beat: is called before each thing that is looked at: whoever hears it knows that this goes on.
    """

    def __init__(self, instance: dg.DagsterInstance, beat: Callable[[], None] = lambda: None):
        launcher = routing_launcher_of(instance)
        self._beat = beat
        self._instance = instance
        self._launcher = launcher
        self._launching = launcher.launching
        self._grace_seconds = launcher.patience.grace_seconds

    def look_once(self) -> Pass:
        """Looks at every open launch, every run that should have one, and every job of this instance's."""
        found = Pass()
        self._do(found, "launches", self._look, self._instance)
        return found

    def _look(self, instance: dg.DagsterInstance, found: Pass) -> None:
        launches = self._launching.launches.open()
        found.open = len(launches)
        for launch in launches:
            self._do(found, f"launch {launch.ticket}", self._tend, launch)
        for run in instance.get_runs(dg.RunsFilter(statuses=list(_UNDER_WAY))):
            self._do(found, f"run {run.run_id}", self._require_launch, run)
        for name in self._launcher.children:
            self._do(found, f"launcher {name}", self._sweep, name)

    def _do(self, found: Pass, what: str, act: Callable[[Any, Pass], None], subject: Any) -> None:
        self._beat()
        try:
            act(subject, found)
        except Exception as error:  # noqa: BLE001  (one that cannot be looked at keeps no other from it; nor does a database that is away)
            found.problems.append(f"{what}: {type(error).__name__}: {error}")

    def _tend(self, launch: Launch, found: Pass) -> None:
        if launch.within is not None:
            process = self._launching.launches.find(launch.within)
            if process is None or not process.is_open:
                # Its process is gone: so is it.
                outcome, reason = (process.outcome, process.reason) if process is not None else (None, None)
                self._launching.launches.release(launch, outcome or "died", reason or "its process is gone")
                found.closed += 1
            return
        if launch.work.step and not self._is_orphaned(launch):
            return  # the run's own process looks after it
        found.closed += not self._launching.tend(launch).is_open

    def _is_orphaned(self, launch: Launch) -> bool:
        """Whether no process looks after a step: its run is over, or was deleted, or it is to end."""
        run = self._instance.get_run_by_id(launch.work.run_id)
        return run is None or run.is_finished or launch.ending is not None

    def _require_launch(self, run: dg.DagsterRun, found: Pass) -> None:
        """Has a run started that nobody starts: whoever was to do so died before it, or between two tries."""
        last, record = self._launching.launches.last(run.run_id), self._instance.get_run_record_by_id(run.run_id)
        is_recent = record is None or time.time() - record.update_timestamp.timestamp() < self._grace_seconds
        if last is not None and not last.is_open:
            if not is_recent and self._launching.go_on(run):
                found.requeued += 1
            elif not is_recent:
                found.closed += self._launching.settle(run, last)
            return
        is_lost = last is None and run.status is dg.DagsterRunStatus.STARTING and not is_recent
        if is_lost and isinstance(self._instance.run_coordinator, RoutingRunCoordinator):
            self._launching.enqueue(run, "Queued again: whoever was to launch it did not.")
            found.requeued += 1

    def _sweep(self, name: str, found: Pass) -> None:
        """Removes what is active on a launcher and no open launch needs."""
        if not self._launching.launches.has_been_at(name):
            return  # no run of this instance has been there
        try:
            strays: Iterable[Stray] = list(self._launching.site(name).strays())
        except Busy as busy:
            raise LaunchError(f"its jobs cannot be listed: {busy}") from busy
        for stray in strays:
            if self._is_needless(stray):
                self._launching.site(name).remove(stray)
                found.removed += 1

    def _is_needless(self, stray: Stray) -> bool:
        launch = self._launching.launches.find(stray.launch_id)
        if launch is None or launch.generation > stray.generation:
            return True
        released = launch.released
        return released is not None and time.time() - released > self._grace_seconds
