"""What can a launcher be asked about a launch, and what does it answer?"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from ml_platform.compat.dagster import LaunchRunContext, ResumeRunContext, RunLauncher, WorkerStatus, instance_of
from ml_platform.launchers.leases.schema import DIED, Launch
from ml_platform.launchers.leases.table import Launches

Context = LaunchRunContext | ResumeRunContext

REPEATS = 3  # so often what was evicted, or died before it began, is started again


@dataclass(frozen=True)
class Patience:
    """How long to wait for what, in seconds.

    Attributes:
        first_seconds: until a busy launcher is tried again, the first time; doubled with each further try.
        longest_seconds: the same at most.
        grace_seconds: for whoever starts something until another does it, for a process whose work is over until it
            is ended, and for one that is not found until it is taken for gone.
    """

    first_seconds: float = 5.0
    longest_seconds: float = 60.0
    grace_seconds: float = 30.0

    def after(self, tries: int) -> float:
        """Gives the seconds until the next try.

        >>> [Patience(5, 60).after(tries) for tries in range(5)]
        [5.0, 10.0, 20.0, 40.0, 60.0]
        """
        return float(min(self.longest_seconds, self.first_seconds * 2.0 ** min(tries, 30)))

    def before_repeat(self, deaths: int) -> float:
        """Gives the seconds until what died is started again: none the first time.

        >>> [Patience(5, 60).before_repeat(deaths) for deaths in range(3)]
        [0.0, 5.0, 10.0]
        """
        return self.after(deaths - 1) if deaths else 0.0


class Busy(Exception):
    """A launcher cannot start something now: a quota that is used up, too many calls, an API that is away.

    Attributes:
        seconds: how long the launcher asks to be left alone, at least.
    """

    def __init__(self, reason: str, seconds: float = 0.0):
        super().__init__(reason)
        self.seconds = seconds


class State(Enum):
    """Whether what was started for a launch is there."""

    RUNNING = "running"  # or about to be
    HELD_UP = "held up"  # nothing executes it, and nothing will while its launcher has no room
    ENDED = "ended"
    ABSENT = "absent"
    UNREACHABLE = "unreachable"  # nobody can say, so it is not taken for dead


@dataclass(frozen=True)
class Seen:
    """What a launcher found of a launch.

    Attributes:
        reason: the same in words.
        outcome: how it ended, if it did: one of the outcomes in `table`.
    """

    state: State
    reason: str = ""
    outcome: str = DIED


@dataclass(frozen=True)
class Stray:
    """Something that was started for a launch, as a launcher lists it."""

    launch_id: str
    generation: int
    name: str
    namespace: str
    uid: str


class Site(Protocol):
    """What a launcher can do for launches."""

    claims: bool  # whether what it starts claims its launch before it works

    def start(self, launch: Launch, context: Context) -> None:
        """Starts a process for a run's launch, or finds that somebody did.

        Raises:
            Busy: not now; nothing is known to have been started.
        """
        ...

    def look(self, launch: Launch) -> Seen:
        """Looks for what was started for a launch."""
        ...

    def end(self, launch: Launch) -> None:
        """Ends it; to be repeated until it is gone.

        Raises:
            Busy: the launcher cannot be asked now.
        """
        ...

    def strays(self) -> Iterable[Stray]:
        """Lists all that is there and active.

        Raises:
            Busy: the launcher cannot be asked now.
        """
        ...

    def remove(self, stray: Stray) -> None:
        """Ends something that no launch needs."""
        ...


class StrangerSite:
    """A launcher of which only Dagster's own interface is known: it starts a run once, and is believed."""

    claims = False

    def __init__(self, launcher: RunLauncher[Any], launches: Launches, _patience: Patience):
        self._launcher = launcher
        self._launches = launches

    def start(self, launch: Launch, context: Context) -> None:
        """Has the run started, once: whoever dies meanwhile leaves it to Dagster's time-out rather than start twice."""
        if not self._launches.begin(launch):
            return
        if isinstance(context, ResumeRunContext):
            self._launcher.resume_run(context)
        else:
            self._launcher.launch_run(context)

    def look(self, launch: Launch) -> Seen:
        """Asks for the run's health."""
        instance = instance_of(self._launcher)
        run = instance.get_run_by_id(launch.work.run_id)
        if run is None or not self._launcher.supports_check_run_worker_health:
            return Seen(State.RUNNING if run is not None and not run.is_finished else State.ABSENT)
        found = self._launcher.check_run_worker_health(run)
        states = {WorkerStatus.RUNNING: State.RUNNING, WorkerStatus.UNKNOWN: State.UNREACHABLE}
        return Seen(states.get(found.status, State.ENDED), found.msg or "")

    def end(self, launch: Launch) -> None:
        """Has the run terminated."""
        self._launcher.terminate(launch.work.run_id)

    def strays(self) -> Iterable[Stray]:
        """Knows of none."""
        return ()

    def remove(self, stray: Stray) -> None:
        """Is never asked: it lists none."""
        raise NotImplementedError(stray)
