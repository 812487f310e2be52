"""Splits rows by time: the newest partitions test, those before them validate, all before those train."""

import re
from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator

from ml_platform.errors import DataError
from ml_platform.sources import Partitions
from ml_platform.splits.base import ROLES, Role, SplitMethod

if TYPE_CHECKING:
    import pandas as pd

_SPAN = re.compile(r"(?P<count>\d+) (?P<unit>day|week|month)s?")


def _check_span(text: object) -> object:
    if not isinstance(text, str) or not _SPAN.fullmatch(text):
        raise ValueError(f"{text!r} is not a span of time: expected such as '1 month', '3 months', '10 days'")
    return text


Span = Annotated[str, BeforeValidator(_check_span)]


class TimeSplit(SplitMethod):
    """Rows by time: the newest months for the test, those before for validation, everything before those to train."""

    needs_partitions: ClassVar[bool] = True
    takes_as_of: ClassVar[bool] = True
    method: Literal["time"] = "time"
    as_of: Literal["latest"] | date = "latest"
    validation: Span
    test: Span

    def resolve(self, key: Sequence[str], spans: Partitions | None, newest: str | None, as_of: str) -> "SplitByTime":
        """Counts the spans backwards from the end of the newest partition, or from `as_of`."""
        assert spans is not None
        declared = str(self.as_of) if as_of == "latest" else as_of
        if declared == "latest" and newest is None:
            raise DataError("no partition is there in every source; materialize the sources first")
        end = spans.end_of(str(newest)) if declared == "latest" else _day(declared)
        test_start = _before(end, self.test)
        split = SplitByTime(spans, test_start, _before(test_start, self.validation), end)
        split.require_bounds()  # first: a split inside a partition may seem to leave a role without rows
        for role in ROLES:
            if not split.partitions([role]):
                raise DataError(
                    f"as of {end} no {spans.every} is left for {role} (validation {self.validation}, test "
                    f"{self.test}; the data begin {spans.start}); choose a later as_of or shorter spans"
                )
        return split


@dataclass(frozen=True)
class SplitByTime:
    """Rows by the partition they are in: training, then validation, then test, up to `as_of` (excluded)."""

    spans: Partitions
    test_start: date
    validation_start: date
    as_of: date

    def partitions(self, roles: Sequence[Role]) -> list[str]:
        """Lists the partitions that lie in the roles' spans."""
        bounds = {
            "train": (self.spans.start, self.validation_start),
            "validation": (self.validation_start, self.test_start),
            "test": (self.test_start, self.as_of),
        }
        return [key for role in ROLES if role in roles for key in self.spans.between(*bounds[role])]

    def mask(self, frame: "pd.DataFrame", roles: Sequence[Role]) -> None:
        """Takes whole partitions."""

    def facts(self) -> dict[str, Any]:
        """Names the first days of validation and test, and the day after the last."""
        return {
            "as_of": self.as_of.isoformat(),
            "validation_from": self.validation_start.isoformat(),
            "test_from": self.test_start.isoformat(),
        }

    def require_bounds(self) -> None:
        """Refuses a split that runs through a partition: its rows would have no role."""
        bounds = sorted({self.spans.start, *map(self.spans.end_of, self.spans.keys)})
        for name, day in (("as_of", self.as_of), ("test", self.test_start), ("validation", self.validation_start)):
            # A day before the data leaves a role empty, which is refused with the numbers that decide it.
            if day not in bounds and day >= self.spans.start:
                nearest = min(bounds, key=lambda bound: abs(bound - day))
                raise DataError(
                    f"{name} is {day}, which is inside a {self.spans.every} or outside of the data; "
                    f"the nearest bound is {nearest}; choose as_of and spans that end at bounds"
                )


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise DataError(f"as_of {text!r}: expected 'latest' or a day such as 2013-10-01") from error


def _before(day: date, span: str) -> date:
    """Goes back by a span such as `3 months`; a month without that day ends at its last."""
    count, unit = span.split(" ")
    if unit.startswith("month"):
        months = day.year * 12 + day.month - 1 - int(count)
        year, month = months // 12, months % 12 + 1
        return date(year, month, min(day.day, monthrange(year, month)[1]))
    return day - timedelta(days=int(count) * (7 if unit.startswith("week") else 1))
