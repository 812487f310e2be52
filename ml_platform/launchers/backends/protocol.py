"""Defines what a launcher's backend must do for launches (start, look, end, list orphans), and its answers."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from ml_platform.compat.dagster import LaunchRunContext, ResumeRunContext, RunLauncher, WorkerStatus, instance_of
from ml_platform.launchers.leases.schema import DIED, Launch
from ml_platform.launchers.leases.table import Launches

Context = LaunchRunContext | ResumeRunContext


@dataclass(frozen=True)
class Timeouts:
    """How long the launchers wait before they try again or take something for lost, in seconds.

    Attributes:
        first_seconds: until a launcher that asked to be tried later is, the first time; doubled with each further try.
        longest_seconds: the same at most.
        grace_seconds: for whoever starts something until another process does it instead, for a process whose work is
            over until it is ended, and for one that is not found until it counts as gone.
    """

    first_seconds: float = 5.0
    longest_seconds: float = 60.0
    grace_seconds: float = 30.0

    def after(self, tries: int) -> float:
        """Returns the seconds until the next try.

        >>> [Timeouts(5, 60).after(tries) for tries in range(5)]
        [5.0, 10.0, 20.0, 40.0, 60.0]
        """
        return float(min(self.longest_seconds, self.first_seconds * 2.0 ** min(tries, 30)))

    def before_repeat(self, deaths: int) -> float:
        """Returns the seconds until what died is started again: none the first time.

        >>> [Timeouts(5, 60).before_repeat(deaths) for deaths in range(3)]
        [0.0, 5.0, 10.0]
        """
        return self.after(deaths - 1) if deaths else 0.0


class RetryLater(Exception):
    """A launcher cannot start something now: a quota that is used up, too many calls, an API that is away.

    Attributes:
        seconds: how long the launcher asks to be left alone, at least.
    """

    def __init__(self, reason: str, seconds: float = 0.0):
        super().__init__(reason)
        self.seconds = seconds


class State(Enum):
    """Whether what was started for a launch exists, as its launcher says."""

    RUNNING = "running"  # or about to be
    HELD_UP = "held up"  # nothing executes it, and nothing will while its launcher has no room
    ENDED = "ended"
    ABSENT = "absent"
    UNREACHABLE = "unreachable"  # nobody can say, so it is not taken for dead


@dataclass(frozen=True)
class LaunchStatus:
    """What a launcher answers when it is asked about a launch.

    Attributes:
        reason: the same in words.
        outcome: how it ended, if it did: one of the outcomes in `leases.schema`.
    """

    state: State
    reason: str = ""
    outcome: str = DIED


@dataclass(frozen=True)
class Orphan:
    """Something active on a launcher that may belong to no open launch, as the launcher lists it."""

    launch_id: str
    fencing_token: int
    name: str
    namespace: str
    uid: str


class Backend(Protocol):
    """What a launcher does for launches: one implementation for each class of launchers."""

    acquires_lease: bool  # whether what it starts takes the lease before it works

    def start(self, launch: Launch, context: Context) -> None:
        """Starts a process for a run's launch, or finds that another caller did.

        Raises:
            RetryLater: not now; nothing is known to have been started.
        """
        ...

    def look(self, launch: Launch) -> LaunchStatus:
        """Looks for what was started for a launch."""
        ...

    def end(self, launch: Launch) -> None:
        """Ends it; to be repeated until it is gone.

        Raises:
            RetryLater: the launcher cannot be asked now.
        """
        ...

    def orphans(self) -> Iterable[Orphan]:
        """Lists everything of this instance that is active, whether a launch needs it or not.

        Raises:
            RetryLater: the launcher cannot be asked now.
        """
        ...

    def remove(self, orphan: Orphan) -> None:
        """Ends something that no launch needs."""
        ...


class GenericBackend:
    """Any run launcher of Dagster's, by its public interface alone: whole runs, and no lease."""

    acquires_lease = False

    def __init__(self, launcher: RunLauncher[Any], launches: Launches, _timeouts: Timeouts):
        self._launcher = launcher
        self._launches = launches

    def start(self, launch: Launch, context: Context) -> None:
        """Has the run started, at most once."""
        # Noted before it is done: its processes take no lease, so a second start could not be told from the first. A
        # caller that dies in between leaves the run to Dagster's time-out.
        if not self._launches.begin(launch):
            return
        if isinstance(context, ResumeRunContext):
            self._launcher.resume_run(context)
        else:
            self._launcher.launch_run(context)

    def look(self, launch: Launch) -> LaunchStatus:
        """Asks Dagster's launcher for the run's health."""
        instance = instance_of(self._launcher)
        run = instance.get_run_by_id(launch.work.run_id)
        if run is None or not self._launcher.supports_check_run_worker_health:
            return LaunchStatus(State.RUNNING if run is not None and not run.is_finished else State.ABSENT)
        found = self._launcher.check_run_worker_health(run)
        states = {WorkerStatus.RUNNING: State.RUNNING, WorkerStatus.UNKNOWN: State.UNREACHABLE}
        return LaunchStatus(states.get(found.status, State.ENDED), found.msg or "")

    def end(self, launch: Launch) -> None:
        """Terminates the run by Dagster's launcher."""
        self._launcher.terminate(launch.work.run_id)

    def orphans(self) -> Iterable[Orphan]:
        """Lists nothing: Dagster's interface has no such question."""
        return ()

    def remove(self, orphan: Orphan) -> None:
        """Raises: none is listed, so none is to be removed."""
        raise NotImplementedError(orphan)
