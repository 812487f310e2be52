"""Defines the retry policy after lost processes: how often, after what delay, on which launcher.

Retries of code that failed are Dagster's, by the user's retry policy. These are for what the machines did.
"""

from collections.abc import Sequence

from ml_platform.launchers.backends.protocol import Timeouts
from ml_platform.launchers.leases.schema import Launch

REPEATS = 3  # so often what was evicted, or died before it began, is started again


def may_start_over(launch: Launch) -> bool:
    """Whether what died before it took its lease is started again: it may never be able to take it."""
    return launch.deaths < REPEATS


def may_repeat(times: int) -> bool:
    """Whether work is started again whose process was lost so many times in the same way."""
    return times <= REPEATS


def next_launcher(escalation: Sequence[str], times: int) -> str | None:
    """Returns the launcher for work that ran out of memory so many times; None if there is no larger one.

    >>> next_launcher(["cpu", "highmem"], 1), next_launcher(["cpu", "highmem"], 2), next_launcher([], 1)
    ('highmem', None, None)
    """
    return escalation[times] if times < len(escalation) else None


def pause_seconds(timeouts: Timeouts, launch: Launch, asked_seconds: float = 0.0) -> float:
    """Returns how long a launch waits whose launcher cannot start it now, at least as long as that one asks for."""
    return max(asked_seconds, timeouts.after(launch.tries))


def pause_after_death_seconds(timeouts: Timeouts, launch: Launch) -> float:
    """Returns how long a launch waits after what was created for it died before it took the lease: none at first."""
    return timeouts.before_repeat(launch.deaths)
