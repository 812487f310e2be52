"""Queues requests of runs, which have no credentials of the cluster, for the reconciler: the client side.

A pod that executes a run has no token for its cluster: whoever's code runs there could start what it likes with it. So
the process writes what it wants into a table beside the launch table; `ml_platform.launchers.runs.relay` does it and
answers. Either may be killed anywhere: what was asked may be done twice, as by two daemons, and the launch decides.
"""

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as db
from dagster import DagsterEvent, serialize_value

from ml_platform.compat.dagster_steps import StepHandlerContext
from ml_platform.errors import LaunchError
from ml_platform.launchers.backends.local_steps import key_of
from ml_platform.launchers.backends.protocol import LaunchStatus, RetryLater, State, Timeouts
from ml_platform.launchers.leases.schema import REQUESTS, Launch
from ml_platform.launchers.leases.table import Launches

CREATE, LOOK = "create", "look"
_FORGOTTEN_SECONDS = 600.0  # after which nobody waits for an answer any more
_R = REQUESTS.c
_REQUEST_COLUMNS = (_R.id, _R.launch_id, _R.fencing_token, _R.launcher, _R.kind)


@dataclass(frozen=True)
class Request:
    """One request of a run's process to a launcher.

    Attributes:
        fencing_token: that of the launch when it was asked; a launch with another has been put off meanwhile.
        kind: to create what executes a step, or to look for it.
        given: of `create`: the step's arguments and tags.
    """

    id: str
    launch_id: str
    fencing_token: int
    launcher: str
    kind: str
    given: Mapping[str, Any]


class Requests:
    """The table of requests and answers, in the database of the launch table."""

    def __init__(self, launches: Launches):
        self._launches = launches

    def ask(self, launch: Launch, kind: str, given: Mapping[str, Any]) -> str:
        """Writes a request; returns its id."""
        request_id = uuid.uuid4().hex
        values = {
            "id": request_id, "launch_id": launch.id, "fencing_token": launch.fencing_token,
            "launcher": launch.launcher, "kind": kind, "given": json.dumps(given), "asked": time.time(),
        }  # fmt: skip
        self._launches.insert(REQUESTS, values)
        return request_id

    def answer_to(self, request_id: str) -> dict[str, Any] | None:
        """Reads what was answered; None while nothing was."""
        rows = self._launches.read(db.select(_R.answer).where(_R.id == request_id))
        return json.loads(rows[0].answer) if rows and rows[0].answer is not None else None

    def withdraw(self, request_id: str) -> None:
        """Forgets a request, answered or not."""
        self._launches.write(db.delete(REQUESTS).where(_R.id == request_id))

    def open(self) -> list[Request]:
        """Lists what is to be done, oldest first."""
        rows = self._launches.read(db.select(REQUESTS).where(_R.answer.is_(None)).order_by(_R.asked))
        return [
            Request(
                row.id, row.launch_id, row._mapping[_R.fencing_token], row.launcher, row.kind, json.loads(row.given)
            )
            for row in rows
        ]

    def forget_old(self) -> None:
        """Forgets what nobody waits for any more, answered or not: whoever asked is gone."""
        self._launches.write(db.delete(REQUESTS).where(_R.asked < time.time() - _FORGOTTEN_SECONDS))

    def answer(self, request: Request, answer: Mapping[str, Any]) -> None:
        """Answers a request."""
        values = {"answer": json.dumps(answer)}
        self._launches.write(db.update(REQUESTS).where(_R.id == request.id).values(**values))


class RelayedBackend:
    """A launcher that only the reconciler can ask about launches of steps."""

    def __init__(self, launches: Launches, timeouts: Timeouts):
        self._requests = Requests(launches)
        self._seconds = timeouts.grace_seconds

    def look(self, launch: Launch) -> LaunchStatus:
        """Asks the reconciler to look for what was started for a launch, unless its process has just reported."""
        # Most looks end here: a process that works reports, and the reconciler is spared a question for each step.
        if launch.is_open and launch.renewed is not None and time.time() - launch.renewed < self._seconds / 2:
            return LaunchStatus(State.RUNNING, "its process reports")
        try:
            answer = self.ask(launch, LOOK)
        except (RetryLater, LaunchError) as error:
            return LaunchStatus(State.UNREACHABLE, str(error))
        return LaunchStatus(State(answer["state"]), answer["reason"], answer["outcome"])

    def end(self, launch: Launch) -> None:
        """Does nothing: the launch table says that it is to end, and the reconciler sees to it."""

    def ask(self, launch: Launch, kind: str, **given: Any) -> dict[str, Any]:
        """Writes a request and waits for its answer.

        Raises:
            RetryLater: the launcher is, or nobody answers.
            LaunchError: it can never be done like this.
        """
        request_id, until, pause = self._requests.ask(launch, kind, given), time.monotonic() + self._seconds, 0.05
        try:
            while (answer := self._requests.answer_to(request_id)) is None:
                if time.monotonic() > until:
                    raise RetryLater(
                        f"no reconciler has answered for {self._seconds:.0f} s; is `ml-platform launches reconcile "
                        "--every 5` running?"
                    )
                time.sleep(pause)
                pause = min(1.0, pause * 1.5)
        finally:
            # Also where nobody answered: the step is asked for anew, and an old request must not be done after that.
            self._requests.withdraw(request_id)
        if "busy" in answer:
            raise RetryLater(answer["busy"], answer["seconds"])
        if "refused" in answer:
            raise LaunchError(answer["refused"])
        return answer


class RelayedSteps:
    """Starts steps by way of the reconciler."""

    def __init__(self, backend: RelayedBackend):
        self.backend = backend

    def create(self, launch: Launch, context: StepHandlerContext) -> Sequence[DagsterEvent]:
        """Asks for what executes a step to be created, or found where it was created for the same launch."""
        args, tags = serialize_value(context.execute_step_args), dict(context.step_tags[key_of(context)])
        self.backend.ask(launch, CREATE, args=args, tags=tags)
        return []
