"""Runs the reconciliation loop over all launches: lost, ended and orphaned ones."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from ml_platform.errors import LaunchError
from ml_platform.launchers.backends.protocol import Orphan, RetryLater
from ml_platform.launchers.leases.schema import Launch
from ml_platform.launchers.runs.coordinator import RoutingRunCoordinator
from ml_platform.launchers.runs.run_launcher import routing_launcher_of

_UNDER_WAY = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)


@dataclass
class ReconcileSummary:
    """Counts what one pass over everything found and did.

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
        counts = f"{self.open} open, {self.closed} closed, {self.requeued} queued again, {self.removed} jobs removed"
        return "; ".join([counts, *self.problems])

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
        self._starter = launcher.starter
        self._grace_seconds = launcher.timeouts.grace_seconds

    def look_once(self) -> ReconcileSummary:
        """Reconciles every open launch, every run that should have one, and every job of this instance."""
        found = ReconcileSummary()
        self._do(found, "launches", self._look, self._instance)
        return found

    def _look(self, instance: dg.DagsterInstance, found: ReconcileSummary) -> None:
        # In this order: closing launches tells which runs have none, and which jobs no launch needs.
        launches = self._starter.launches.open()
        found.open = len(launches)
        for launch in launches:
            self._do(found, f"launch {launch.lease_id}", self._reconcile, launch)
        for run in instance.get_runs(dg.RunsFilter(statuses=list(_UNDER_WAY))):
            self._do(found, f"run {run.run_id}", self._require_launch, run)
        for name in self._launcher.children:
            self._do(found, f"launcher {name}", self._sweep, name)

    def _do(
        self, found: ReconcileSummary, what: str, act: Callable[[Any, ReconcileSummary], None], subject: Any
    ) -> None:
        self._beat()
        try:
            act(subject, found)
        except Exception as error:  # noqa: BLE001  (one that cannot be looked at keeps no other from it; nor does a database that is away)
            found.problems.append(f"{what}: {type(error).__name__}: {error}")

    def _reconcile(self, launch: Launch, found: ReconcileSummary) -> None:
        if launch.within is not None:
            process = self._starter.launches.find(launch.within)
            if process is None or not process.is_open:
                # Its process is gone: so is it.
                outcome, reason = (process.outcome, process.reason) if process is not None else (None, None)
                self._starter.launches.release(launch, outcome or "died", reason or "its process is gone")
                found.closed += 1
            return
        if launch.work.step and not self._is_orphaned(launch):
            return  # the run's own process looks after it
        found.closed += not self._starter.reconcile(launch).is_open

    def _is_orphaned(self, launch: Launch) -> bool:
        """Whether no process looks after a step: its run is over, or was deleted, or it is to end."""
        run = self._instance.get_run_by_id(launch.work.run_id)
        return run is None or run.is_finished or launch.ending is not None

    def _require_launch(self, run: dg.DagsterRun, found: ReconcileSummary) -> None:
        """Starts a run that nobody starts: whoever was to do so died before it, or between two tries."""
        last, record = self._starter.launches.last(run.run_id), self._instance.get_run_record_by_id(run.run_id)
        # Between two statements of a daemon a run has no launch for a moment: only one that stays so is lost.
        is_recent = record is None or time.time() - record.update_timestamp.timestamp() < self._grace_seconds
        if last is not None and not last.is_open:
            if not is_recent and self._starter.go_on(run):
                found.requeued += 1
            elif not is_recent:
                found.closed += self._starter.finalize(run, last)
            return
        is_lost = last is None and run.status is dg.DagsterRunStatus.STARTING and not is_recent
        if is_lost and isinstance(self._instance.run_coordinator, RoutingRunCoordinator):
            self._starter.enqueue(run, "Queued again: whoever was to launch it did not.")
            found.requeued += 1

    def _sweep(self, name: str, found: ReconcileSummary) -> None:
        """Removes what is active on a launcher and no open launch needs."""
        if not self._starter.launches.has_been_at(name):
            return  # no run of this instance has been there
        try:
            orphans: Iterable[Orphan] = list(self._starter.backend(name).orphans())
        except RetryLater as retry_later:
            raise LaunchError(f"its jobs cannot be listed: {retry_later}") from retry_later
        for orphan in orphans:
            if self._is_needless(orphan):
                self._starter.backend(name).remove(orphan)
                found.removed += 1

    def _is_needless(self, orphan: Orphan) -> bool:
        launch = self._starter.launches.find(orphan.launch_id)
        # What has the present token may be about to take its lease; after the release its process has some time to end.
        if launch is None or launch.fencing_token > orphan.fencing_token:
            return True
        released = launch.released
        return released is not None and time.time() - released > self._grace_seconds
