"""What is done about a launch follows from its row, its run and what its backend answered: the whole table."""

from dataclasses import replace
from typing import Any

import dagster as dg
import pytest

from ml_platform.launchers.backends.protocol import LaunchStatus, State
from ml_platform.launchers.leases.schema import ENDED, Launch, Work
from ml_platform.launchers.retries import REPEATS
from ml_platform.launchers.runs.decisions import Action, Circumstances, decide
from ml_platform_tests.launchers.machine import ORIGIN

NOW, GRACE = 1_000.0, 30.0
AT = Circumstances(now=NOW, grace_seconds=GRACE, run_ended=NOW, is_to_end=False, is_requeuing=True)
TO_END = replace(AT, is_to_end=True)

INTENDED = Launch("launch", Work("run", "run", "job"), 1, 1, "cpu", NOW - 5)
CREATED = replace(INTENDED, created=NOW - 4)
ACQUIRED = replace(CREATED, acquired=NOW - 3)
WAITING = replace(INTENDED, waiting_until=NOW + 5)
OVERDUE = replace(INTENDED, waiting_until=NOW - 5)
LOST = replace(INTENDED, intended=NOW - GRACE - 1)
ENDING, ENDING_UNLEASED = replace(ACQUIRED, ending=NOW - 1), replace(CREATED, ending=NOW - 1)
CLOSED = replace(ACQUIRED, released=NOW, outcome=ENDED)
HOPELESS = replace(CREATED, deaths=REPEATS)

STATUS = dg.DagsterRunStatus
QUEUED, STARTING, STARTED, DONE = (
    dg.DagsterRun("job", run_id="0" * 36, status=status, remote_job_origin=ORIGIN)
    for status in (STATUS.QUEUED, STATUS.STARTING, STATUS.STARTED, STATUS.SUCCESS)
)
RUNNING, HELD_UP, GONE, ABSENT, UNREACHABLE = (
    LaunchStatus(state) for state in (State.RUNNING, State.HELD_UP, State.ENDED, State.ABSENT, State.UNREACHABLE)
)
LONG_AGO = {"run_ended": NOW - GRACE - 1}

TABLE: list[tuple[str, Launch, dg.DagsterRun | None, LaunchStatus | None, Circumstances, Action]] = [
    # a process has the lease
    ("it is looked at", ACQUIRED, STARTED, None, AT, Action.LOOK),
    ("it is at work", ACQUIRED, STARTED, RUNNING, AT, Action.WAIT),
    ("nobody can say", ACQUIRED, STARTED, UNREACHABLE, AT, Action.WAIT),
    ("it ended before its work", ACQUIRED, STARTED, GONE, AT, Action.CLOSE_DEAD),
    ("it is not there", ACQUIRED, STARTING, ABSENT, AT, Action.CLOSE_DEAD),
    # no process has it
    ("it is about to be created", INTENDED, STARTING, None, AT, Action.WAIT),
    ("nobody created it", LOST, STARTING, None, AT, Action.START_OVER),
    ("its time has not come", WAITING, STARTING, None, AT, Action.WAIT),
    ("the daemon is about to try", OVERDUE, STARTING, None, AT, Action.WAIT),
    ("it is in the queue", OVERDUE, QUEUED, None, replace(AT, is_requeuing=False), Action.WAIT),
    ("the daemon did not try", replace(OVERDUE, waiting_until=NOW - GRACE), STARTING, None, AT, Action.TRY_AGAIN),
    ("there is no such queue", OVERDUE, STARTING, None, replace(AT, is_requeuing=False), Action.TRY_AGAIN),
    ("a run that goes on has no queue", OVERDUE, STARTED, None, AT, Action.TRY_AGAIN),
    ("what was created is looked at", CREATED, STARTING, None, AT, Action.LOOK),
    ("it is on its way", CREATED, STARTING, RUNNING, AT, Action.WAIT),
    ("its cluster is away", CREATED, STARTING, UNREACHABLE, AT, Action.WAIT),
    ("there is no room for it", CREATED, STARTING, HELD_UP, AT, Action.PUT_OFF),
    ("it died before it began", CREATED, STARTING, GONE, AT, Action.REPEAT),
    ("it vanished before it began", CREATED, STARTING, ABSENT, AT, Action.REPEAT),
    ("it died too often", HOPELESS, STARTING, GONE, AT, Action.REFUSE),
    # its work is over, or not wanted
    ("its process is about to end by itself", ACQUIRED, DONE, None, AT, Action.WAIT),
    ("its process does not end", ACQUIRED, DONE, None, replace(AT, **LONG_AGO), Action.ASK_TO_END),
    ("its run was deleted", ACQUIRED, None, None, replace(AT, run_ended=0.0), Action.ASK_TO_END),
    ("it will never begin", CREATED, DONE, None, AT, Action.ASK_TO_END),
    ("it was asked to end", ENDING, STARTED, None, TO_END, Action.LOOK),
    ("it has not ended yet", ENDING, STARTED, RUNNING, TO_END, Action.END),
    ("nobody can say whether it has", ENDING, STARTED, UNREACHABLE, TO_END, Action.END),
    ("it has ended", ENDING, STARTED, GONE, TO_END, Action.CLOSE),
    ("it is gone", ENDING, None, ABSENT, TO_END, Action.CLOSE),
    ("its pod waits still", ENDING_UNLEASED, DONE, RUNNING, TO_END, Action.END),
    ("nobody can say, and it can do nothing", ENDING_UNLEASED, DONE, UNREACHABLE, TO_END, Action.END_AND_CLOSE),
    ("what has no room is not started", ENDING_UNLEASED, DONE, HELD_UP, TO_END, Action.CLOSE),
    ("somebody closed it meanwhile", CLOSED, STARTED, None, TO_END, Action.LOOK),
]  # fmt: skip


@pytest.mark.parametrize(
    ("launch", "run", "seen", "at", "action"), [one[1:] for one in TABLE], ids=[one[0] for one in TABLE]
)
def test_what_is_done(launch: Launch, run: Any, seen: Any, at: Circumstances, action: Action) -> None:
    assert decide(launch, run, seen, at) is action


def test_every_action_is_in_the_table() -> None:
    assert {one[-1] for one in TABLE} == set(Action)


def test_what_was_asked_to_end_is_not_asked_twice() -> None:
    """Else the loop that decides anew would not end, also where somebody closes the launch at that moment."""
    for launch in (ENDING, ENDING_UNLEASED, CLOSED):
        assert decide(launch, STARTED, None, TO_END) is Action.LOOK
