"""Chooses the next action (wait, retry, close, end) for a run's open launch; a pure function."""

from dataclasses import dataclass
from enum import Enum

import dagster as dg

from ml_platform.launchers.backends.protocol import LaunchStatus, State
from ml_platform.launchers.leases.schema import Launch
from ml_platform.launchers.retries import may_start_over


class Action(Enum):
    """What is to be done next about a launch; `RunStarter` does it."""

    WAIT = "nothing now"
    LOOK = "ask the backend, then decide again"
    ASK_TO_END = "record that it is to end, then decide again"
    END = "have the backend end it; it is looked at again until it is gone"
    END_AND_CLOSE = "have the backend end it, and close it"
    CLOSE = "close it: its work is over, and nothing of it is left"
    CLOSE_DEAD = "close it: its process is gone, and its work is not over"
    TRY_AGAIN = "start it: it has waited long enough"
    START_OVER = "start it with another fencing token: whoever was to create something did not"
    REPEAT = "start it with another fencing token: what was created died before it took the lease"
    REFUSE = "give up: what was created died before it took the lease, too often"
    PUT_OFF = "fence what was created, and try again later: its launcher has no room"


@dataclass(frozen=True)
class Circumstances:
    """What is known beside the launch and its run.

    Attributes:
        now: seconds as of `time.time`.
        run_ended: when the run ended; `now` for one that has not, 0 for one that was deleted.
        is_to_end: whether the launch is not wanted any more, whatever its run says.
        is_requeuing: whether the daemon launches a run again by itself that was put back into the queue.
    """

    now: float
    grace_seconds: float
    run_ended: float
    is_to_end: bool
    is_requeuing: bool


def decide(launch: Launch, run: dg.DagsterRun | None, seen: LaunchStatus | None, at: Circumstances) -> Action:
    """Returns what is to be done about a launch.

    Args:
        seen: what the backend answered; None if it was not asked yet, which is only done where it matters.
    """
    if run is None or run.is_finished or at.is_to_end:
        return _of_what_is_to_end(launch, seen, at)
    if launch.acquired is None:
        return _of_what_has_no_lease(launch, run, seen, at)
    if seen is None:
        return Action.LOOK
    # Unreachable is not dead: nobody can say, so another process could be started beside one that is at work.
    return Action.CLOSE_DEAD if _is_gone(seen) else Action.WAIT


def _of_what_is_to_end(launch: Launch, seen: LaunchStatus | None, at: Circumstances) -> Action:
    if launch.ending is None and launch.is_open:
        is_ending_by_itself = launch.acquired is not None and at.now - at.run_ended < at.grace_seconds
        return Action.WAIT if is_ending_by_itself else Action.ASK_TO_END
    if seen is None:
        return Action.LOOK
    if seen.state is State.RUNNING or (seen.state is State.UNREACHABLE and launch.acquired is not None):
        return Action.END
    # Without a lease it can do nothing any more, so that nobody has to be sure that it is gone.
    return Action.END_AND_CLOSE if seen.state is State.UNREACHABLE else Action.CLOSE


def _of_what_has_no_lease(launch: Launch, run: dg.DagsterRun, seen: LaunchStatus | None, at: Circumstances) -> Action:
    if launch.waiting_until is not None:
        overdue = at.now - launch.waiting_until
        return Action.TRY_AGAIN if overdue >= 0 and not _is_daemons(run, overdue, at) else Action.WAIT
    if launch.created is None:
        # Whoever opened the launch may be about to create something; a second one would only waste a fencing token.
        return Action.START_OVER if at.now - launch.intended > at.grace_seconds else Action.WAIT
    if seen is None:
        return Action.LOOK
    if _is_gone(seen):
        return Action.REPEAT if may_start_over(launch) else Action.REFUSE
    return Action.PUT_OFF if seen.state is State.HELD_UP else Action.WAIT


def _is_daemons(run: dg.DagsterRun, overdue_seconds: float, at: Circumstances) -> bool:
    """Whether Dagster's daemon will launch a run again by itself."""
    if run.status is dg.DagsterRunStatus.QUEUED:
        return True
    is_starting = run.status is dg.DagsterRunStatus.STARTING
    return at.is_requeuing and is_starting and overdue_seconds < at.grace_seconds


def _is_gone(seen: LaunchStatus) -> bool:
    return seen.state in (State.ENDED, State.ABSENT)
