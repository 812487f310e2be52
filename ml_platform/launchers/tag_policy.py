"""Sanitizes run tags, which anybody may write: drops what configures containers, and bounds numbers.

Neutralised: tags that Dagster's launchers read a container's settings or an address from; what the job's code declares
stands, and nothing else. Emptied: what Dagster alone says of a failed run. Clamped: numbers that take the queue, the
database or a machine from others. Let through: everything else.
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
    "docker/",
    "dagster-celery/",
    "dagster-ray/",
    "dagster-aws/",
    "ecs/",
    ".dagster/grpc_info",  # where a run is ended: the daemon connects to it
    WAITING_TAG,
)
_INERT = "{}"  # Dagster cannot remove a tag; its launchers read settings as JSON
_OF_FAILURES = ("dagster/failure_reason", "dagster/will_retry")  # a reason that Dagster does not know ends its daemon
_METRICS_SECONDS = 30  # between two events of a run that measures itself, at least: Dagster's own
_SHOWN = 100  # characters of a key or a value in a run's log, and changes of one run


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
        """Returns the tags that may not stand as they are, with what they become.

        Args:
            declared: the tags of the job, as its code says them.

        >>> TagPolicy().changes({"dagster/priority": "9000", "dagster-k8s/config": "...", "team": "a"}, {})
        {'dagster/priority': '100', 'dagster-k8s/config': '{}'}
        """
        found = self._all_allowed(tags, declared)
        return {key: value for key, value in found.items() if value != tags[key]}

    def _all_allowed(self, tags: Mapping[str, str], declared: Mapping[str, str]) -> dict[str, str]:
        return {key: self._allowed(key, value, declared) for key, value in tags.items()}

    def _allowed(self, key: str, value: str, declared: Mapping[str, str]) -> str:
        if declared.get(key) == value:
            return value
        if key.startswith(NEUTRALISED):
            return declared.get(key, _INERT)
        if key in _OF_FAILURES:
            return ""
        clamp = self._clamps().get(key)
        return value if clamp is None else clamp(value)

    def _clamps(self) -> Mapping[str, Callable[[str], str]]:
        def runtime(value: str) -> str:
            seconds = _number(value)
            is_valid = seconds is not None and 0 < seconds <= self.max_runtime_seconds
            return value if is_valid else str(self.max_runtime_seconds)

        def metrics_interval(value: str) -> str:
            seconds = _number(value)
            return value if seconds is not None and seconds >= _METRICS_SECONDS else str(_METRICS_SECONDS)

        return {
            "dagster/priority": lambda value: _whole(value, -self.max_priority, self.max_priority),
            "dagster/max_retries": lambda value: _whole(value, 0, self.max_retries),
            "dagster/max_runtime": runtime,
            "dagster/max_runtime_seconds": runtime,
            ".dagster/run_metrics_polling_interval": metrics_interval,
        }

    def changes_of(self, instance: dg.DagsterInstance, run: dg.DagsterRun) -> dict[str, str]:
        """Returns the changes to a run's tags, given what the code of its job declares."""
        if not self.changes(run.tags, {}):
            return {}  # so nobody has to look up what the code declares
        return self.changes(run.tags, _declared(instance, run))

    def launched_as(self, instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRun:
        """Returns a run as its launcher may see it, whichever way it came there.

        What was neutralised is not there at all: `{}` of one tag would still take the place of what another declares.
        """
        if not any(key.startswith(NEUTRALISED) for key in run.tags) and not self.changes(run.tags, {}):
            return run
        declared = _declared(instance, run)
        allowed = self._all_allowed(run.tags, declared)
        seen = {key: value for key, value in allowed.items() if key in declared or not key.startswith(NEUTRALISED)}
        return run.with_tags(seen)


def _declared(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Mapping[str, str]:
    """Returns the tags that the code of a run's job declares."""
    snapshot = instance.get_job_snapshot(run.job_snapshot_id) if run.job_snapshot_id else None
    return {**snapshot.tags, **(snapshot.run_tags or {})} if snapshot is not None else {}


def describe_changes(run: dg.DagsterRun, changes: Mapping[str, str]) -> str:
    """Says what became of tags, for the run's log."""
    first = sorted(changes.items())[:_SHOWN]
    listed = "; ".join(f"{key[:_SHOWN]}: {run.tags[key][:_SHOWN]!r} became {value[:_SHOWN]!r}" for key, value in first)
    more = f"; and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
    return f"Tags that a run may not have were changed ({listed}{more}); see docs/launchers.md, What tags may ask for."


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
