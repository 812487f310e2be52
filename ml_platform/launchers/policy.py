"""What may the tags of a run ask for? Whoever may launch a run may write any tag, also one that asks for a root shell.

Neutralised: tags that Dagster's launchers read a container's settings from; what the job's code declares stands, and
nothing else. Clamped: numbers that take the queue or a machine from others. Let through: everything else.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import dagster as dg

from ml_platform.errors import LaunchError

WAITING_TAG = "ml_platform/waiting_until"  # of a run in the queue: seconds as of `time.time`

NEUTRALISED = (
    "dagster-k8s/",
    "dagster-docker/",
    "dagster-celery/",
    "dagster-ray/",
    "dagster-aws/",
    "ecs/",
    WAITING_TAG,
)
_INERT = "{}"  # Dagster cannot remove a tag; its launchers read settings as JSON


@dataclass(frozen=True)
class TagPolicy:
    """The limits of what a run's tags may ask for.

    Attributes:
        max_priority: of `dagster/priority`, and less than 0 by no more.
        max_runtime_seconds: of `dagster/max_runtime`; what is no number of seconds above 0 becomes this.
        max_retries: of `dagster/max_retries`.
    """

    max_priority: int = 100
    max_runtime_seconds: int = 7 * 24 * 3600
    max_retries: int = 10

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise LaunchError(f"tag_policy: {name} is {value!r}; expected a whole number from 0")

    def changes(self, tags: Mapping[str, str], declared: Mapping[str, str]) -> dict[str, str]:
        """Gives the tags that may not stand as they are, with what they become.

        Args:
            declared: the tags of the job, as its code says them.

        >>> TagPolicy().changes({"dagster/priority": "9000", "dagster-k8s/config": "...", "team": "a"}, {})
        {'dagster/priority': '100', 'dagster-k8s/config': '{}'}
        """
        found = {key: self._allowed(key, value, declared) for key, value in tags.items()}
        return {key: value for key, value in found.items() if value != tags[key]}

    def _allowed(self, key: str, value: str, declared: Mapping[str, str]) -> str:
        if declared.get(key) == value:
            return value
        if key.startswith(NEUTRALISED):
            return declared.get(key, _INERT)
        clamp = self._clamps().get(key)
        return value if clamp is None else clamp(value)

    def _clamps(self) -> Mapping[str, Callable[[str], str]]:
        def runtime(value: str) -> str:
            seconds = _number(value)
            is_valid = seconds is not None and 0 < seconds <= self.max_runtime_seconds
            return value if is_valid else str(self.max_runtime_seconds)

        return {
            "dagster/priority": lambda value: _whole(value, -self.max_priority, self.max_priority),
            "dagster/max_retries": lambda value: _whole(value, 0, self.max_retries),
            "dagster/max_runtime": runtime,
            "dagster/max_runtime_seconds": runtime,
        }

    def changes_of(self, instance: dg.DagsterInstance, run: dg.DagsterRun) -> dict[str, str]:
        """Gives the changes to a run's tags, given what the code of its job declares."""
        if not self.changes(run.tags, {}):
            return {}  # so nobody has to look up what the code declares
        snapshot = instance.get_job_snapshot(run.job_snapshot_id) if run.job_snapshot_id else None
        return self.changes(run.tags, {**snapshot.tags, **(snapshot.run_tags or {})} if snapshot is not None else {})


def told(run: dg.DagsterRun, changes: Mapping[str, str]) -> str:
    """Says what became of tags, for the run's log."""
    listed = "; ".join(f"{key}: {run.tags[key][:100]!r} became {value!r}" for key, value in sorted(changes.items()))
    return f"Tags that a run may not have were changed ({listed}); see docs/launchers.md, What tags may ask for."


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _whole(value: str, least: int, most: int) -> str:
    """Keeps a whole number between two; what is none becomes 0, as Dagster reads it."""
    try:
        return str(max(least, min(most, int(value))))
    except ValueError:
        return "0"
