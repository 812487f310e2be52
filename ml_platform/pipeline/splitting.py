"""Which rows train, which validate, which test?"""

from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ml_platform.artifacts import Frames
from ml_platform.errors import DataError, require_columns
from ml_platform.pipeline.spec import OrderedSplit, PipelineSpec, RandomSplit, TimeSplit
from ml_platform.sources import Partitions

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

Role = Literal["train", "validation", "test"]


class Cut(Protocol):
    """A split that is settled: it says the role of every row."""

    def partitions(self, roles: Sequence[Role]) -> list[str] | None:
        """Lists the partitions that hold rows of these roles; None for all there are."""

    def mask(self, frame: "pd.DataFrame", roles: Sequence[Role]) -> "np.ndarray | None":
        """Marks the rows of these roles within those partitions; None for all of them."""

    def facts(self) -> dict[str, Any]:
        """Describes the cut as plain JSON values."""


@dataclass(frozen=True)
class TimeCut:
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
        return [
            key
            for role in ("train", "validation", "test")
            if role in roles
            for key in self.spans.between(*bounds[role])
        ]

    def mask(self, frame: "pd.DataFrame", roles: Sequence[Role]) -> None:
        """Takes whole partitions."""

    def facts(self) -> dict[str, Any]:
        """Names the cut and its first days."""
        return {
            "as_of": self.as_of.isoformat(),
            "validation_from": self.validation_start.isoformat(),
            "test_from": self.test_start.isoformat(),
        }


@dataclass(frozen=True)
class RandomCut:
    """Rows by a hash of their key and a seed, which does not depend on the other rows."""

    key: Sequence[str]
    split: RandomSplit

    def partitions(self, roles: Sequence[Role]) -> None:
        """Needs all partitions."""

    def mask(self, frame: "pd.DataFrame", roles: Sequence[Role]) -> "np.ndarray":
        """Marks the rows of these roles."""
        return random_mask(frame, self.key, self.split, roles)

    def facts(self) -> dict[str, Any]:
        """Names shares and seed."""
        return self.split.model_dump()


@dataclass(frozen=True)
class OrderedCut:
    """Rows by a number in their key, which does not depend on the other rows."""

    split: OrderedSplit

    def partitions(self, roles: Sequence[Role]) -> None:
        """Needs all partitions."""

    def mask(self, frame: "pd.DataFrame", roles: Sequence[Role]) -> "np.ndarray":
        """Marks the rows of these roles."""
        return ordered_mask(frame, self.split, roles)

    def facts(self) -> dict[str, Any]:
        """Names column and bounds."""
        return self.split.model_dump()


def ordered_mask(frame: "pd.DataFrame", split: OrderedSplit, roles: Sequence[Role]) -> "np.ndarray":
    """Marks rows by where their number stands: train, validation, test."""
    import numpy as np

    place = frame[split.column].to_numpy()
    names: list[Role] = ["train", "validation", "test"]
    bounds = np.digitize(place, [split.validation_from, split.test_from])
    marked: np.ndarray = np.isin(bounds, [names.index(role) for role in roles])
    return marked


def random_mask(frame: "pd.DataFrame", key: Sequence[str], split: RandomSplit, roles: Sequence[Role]) -> "np.ndarray":
    """Marks rows by where their key's hash falls in [0, 1): test, validation, train."""
    import numpy as np
    import pandas as pd

    hashes = pd.util.hash_pandas_object(frame[list(key)], index=False).to_numpy()
    seed = np.uint64(split.seed * 0x9E3779B97F4A7C15 % 2**64)
    place = _mix(hashes ^ seed) / 2.0**64
    test, validation = split.test, split.test + split.validation
    bounds = {"test": (0.0, test), "validation": (test, validation), "train": (validation, 1.0)}
    marks = [(bounds[role][0] <= place) & (place < bounds[role][1]) for role in roles]
    marked: np.ndarray = np.logical_or.reduce(marks)
    return marked


def _mix(values: "np.ndarray") -> "np.ndarray":
    """Spreads 64-bit values evenly (the finaliser of splitmix64)."""
    import numpy as np

    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = values ^ (values >> np.uint64(31))
    return mixed


def settle(
    spec: PipelineSpec,
    key: Sequence[str],
    spans: Partitions | None,
    newest: str | None,
    as_of: str = "latest",
) -> Cut:
    """Turns a declared split into a cut.

    Args:
        key: what identifies a row of the frames to split.
        spans: the partitions of those frames.
        newest: the newest partition common to the sources.
        as_of: the cut for this run (`2013-10-01`: rows before that day); `latest` takes the declared one.

    Raises:
        DataError: no partition at all, or too few to train on.
    """
    if isinstance(spec.split, RandomSplit | OrderedSplit):
        if as_of != "latest":
            kind = spec.split.method
            raise DataError(f"{spec.pipeline}: as_of {as_of!r} has no meaning for a split that is {kind}; leave it out")
        return RandomCut(key, spec.split) if isinstance(spec.split, RandomSplit) else OrderedCut(spec.split)
    if spans is None:
        raise DataError(f"{spec.pipeline}: a split by time needs partitioned sources; use a random split")
    return _settle_time(spec.pipeline, spec.split, spans, newest, as_of)


def _settle_time(pipeline: str, split: TimeSplit, spans: Partitions, newest: str | None, as_of: str) -> TimeCut:
    declared = str(split.as_of) if as_of == "latest" else as_of
    if declared == "latest" and newest is None:
        raise DataError(f"{pipeline}: no partition is there in every source; materialize the sources first")
    end = spans.end_of(str(newest)) if declared == "latest" else _day(pipeline, declared)
    test_start = _before(end, split.test)
    validation_start = _before(test_start, split.validation)
    cut = TimeCut(spans, test_start, validation_start, end)
    _require_bounds(pipeline, cut)
    for role in ("train", "validation", "test"):
        if not cut.partitions([role]):
            raise DataError(
                f"{pipeline}: as of {end} no {spans.every} is left for {role} (validation {split.validation}, test "
                f"{split.test}; the data begin {spans.start}); choose a later as_of or shorter spans"
            )
    return cut


def _require_bounds(pipeline: str, cut: TimeCut) -> None:
    """Refuses a cut that runs through a partition: its rows would be on no side."""
    bounds = sorted({cut.spans.start, *map(cut.spans.end_of, cut.spans.keys)})
    for name, day in (("as_of", cut.as_of), ("test", cut.test_start), ("validation", cut.validation_start)):
        if day not in bounds and day >= cut.spans.start:
            nearest = min(bounds, key=lambda bound: abs(bound - day))
            raise DataError(
                f"{pipeline}: {name} is {day}, which is inside a {cut.spans.every} or outside of the data; "
                f"the nearest bound is {nearest}; choose as_of and spans that end at bounds"
            )


def _day(pipeline: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise DataError(f"{pipeline}: as_of {text!r}: expected 'latest' or a day such as 2013-10-01") from error


def _before(day: date, span: str) -> date:
    """Goes back by a span such as `3 months`."""
    count, unit = span.split(" ")
    if unit.startswith("month"):
        months = day.year * 12 + day.month - 1 - int(count)
        year, month = months // 12, months % 12 + 1
        return date(year, month, min(day.day, monthrange(year, month)[1]))
    return day - timedelta(days=int(count) * (7 if unit.startswith("week") else 1))


def narrow(frames: Frames, cut: Cut, roles: Sequence[Role]) -> Frames:
    """Keeps only the partitions that hold rows of these roles."""
    return frames.only(cut.partitions(roles) if frames.is_partitioned else None)


def read_rows(
    frames: Frames, cut: Cut, roles: Sequence[Role], columns: Sequence[str], key: Sequence[str]
) -> "pd.DataFrame":
    """Reads the rows of some roles: only their partitions, only these columns (and the key).

    Raises:
        DataError: if there are none.
    """
    used = narrow(frames, cut, roles)
    wanted = list(dict.fromkeys([*key, *columns]))
    require_columns(used.columns, wanted, frames.asset)
    frame = used.read_all(wanted)
    mask = cut.mask(frame, roles)
    chosen = frame if mask is None else frame[mask].reset_index(drop=True)
    if chosen.empty:
        raise DataError(f"{frames.asset}: no rows for {' and '.join(roles)} as of {cut.facts()}")
    return chosen
