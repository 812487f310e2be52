"""Defines partitions: equal spans of time, by day, week or month, that a dataset is cut into."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

from ml_platform.errors import PlatformError, expected_one_of


def _next_month(day: date) -> date:
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)


_NEXT: dict[str, Callable[[date], date]] = {
    "day": lambda day: day + timedelta(days=1),
    "week": lambda day: day + timedelta(days=7),
    "month": _next_month,
}


@dataclass(frozen=True)
class Partitions:
    """Equal spans from `start` to `end` (excluded); a partition's key is its first day, `2013-01-01`.

    Attributes:
        every: the grain: `day`, `week` or `month`.
        start: first day of the first partition; for months the first of one, for weeks any day.
        end: first day after the last partition.
    """

    every: str
    start: date
    end: date

    def __post_init__(self) -> None:
        if self.every not in _NEXT:
            raise PlatformError(f"partitions every {self.every!r}: {expected_one_of(self.every, _NEXT)}")
        if self.every == "month" and self.start.day != 1:
            raise PlatformError(f"partitions by month start on {self.start}; expected the first day of a month")
        # Dagster's own partitions would leave out a last span that is cut off, without a word.
        if self.end_of(self.keys[-1]) != self.end:
            whole = self.end_of(self.keys[-1])
            raise PlatformError(
                f"partitions every {self.every} from {self.start} do not end on {self.end}; try {whole}"
            )

    @classmethod
    def covering(cls, every: str, first: date, last: date) -> "Partitions":
        """Returns the spans that hold all days from `first` to `last`.

        >>> Partitions.covering("month", date(2013, 1, 15), date(2013, 2, 1))
        Partitions(every='month', start=datetime.date(2013, 1, 1), end=datetime.date(2013, 3, 1))
        """
        start = end = first.replace(day=1) if every == "month" else first
        while end <= last:
            end = _NEXT[every](end)
        return cls(every, start, end)

    def _walk(self) -> Iterator[date]:
        day = self.start
        while day < self.end:
            yield day
            day = _NEXT[self.every](day)

    @cached_property
    def keys(self) -> list[str]:
        """All keys in order.

        >>> Partitions("month", date(2013, 1, 1), date(2013, 4, 1)).keys
        ['2013-01-01', '2013-02-01', '2013-03-01']
        """
        return [day.isoformat() for day in self._walk()]

    def end_of(self, key: str) -> date:
        """Returns the first day after a partition."""
        return _NEXT[self.every](date.fromisoformat(key))

    def between(self, start: date, end: date) -> list[str]:
        """Returns the partitions that lie wholly within `start` (included) and `end` (excluded)."""
        return [k for k in self.keys if start <= date.fromisoformat(k) and self.end_of(k) <= end]

    def with_lookback(self, key: str, lookback: timedelta) -> list[str]:
        """Returns the partitions that a row of `key` may look back into, `key` included, oldest first."""
        # Whole days, rounded up (floor division of the negative): a row at midnight looks back into the day before.
        reach = date.fromisoformat(key) - timedelta(days=-(-lookback // timedelta(days=1)))
        return [k for k in self.keys if k <= key and self.end_of(k) > reach]

    def steps_back(self, lookback: timedelta) -> int:
        """Returns how many partitions a lookback reaches at most."""
        return max((len(self.with_lookback(key, lookback)) - 1 for key in self.keys), default=0)
