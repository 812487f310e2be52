"""Decides what a first pipeline over an unknown table looks like: task, key, partitions, split, features."""

import math
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from ml_platform.errors import DataError, expected_one_of, first_few
from ml_platform.scaffolding.profile import ColumnProfile, TableProfile
from ml_platform.schema import quoted_name
from ml_platform.sources import Partitions

LAST_YEAR = 2200
MOST_CLASSES = 30
MOST_INTEGER_CLASSES = 10
MOST_CATEGORIES = 50
FEWEST_PARTITIONS = 6  # so that training has more of them than validation and test
_MIDNIGHT = re.compile(r"[ T]00:00(:00)?")
_IDENTIFIER = re.compile(r"(?i)(^|[_ ])(id|key|no|nr|number|code|index)$")
# What people write for yes and no, in any case of letters.
_PAIRS = ({"yes", "no"}, {"y", "n"}, {"true", "false"}, {"t", "f"})


@dataclass(frozen=True)
class Draft:
    """What the files of a new pipeline say.

    Attributes:
        label: the target as SQL gives it, where it is not learnt as it stands in the file.
        positive: the text that means yes, in small letters, where that is what the label asks for.
        numbered: whether rows are identified by their place in the file.
        partitions: None where the split is random.
        numbers: columns that models take as they are.
        categories: text columns of few values.
        left_out: column to why no model gets it.
    """

    name: str
    table: TableProfile
    target: str
    time: str | None
    task: str
    label: str | None
    positive: str | None
    key: tuple[str, ...]
    numbered: bool
    partitions: Partitions | None
    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    left_out: dict[str, str]

    @property
    def has_calendar(self) -> bool:
        """Whether models get parts of a time."""
        return bool(self.parts_of_time)

    @property
    def parts_of_time(self) -> list[str]:
        """Parts of the time that models get; the hour only where there are hours."""
        if self.time is None:
            return []
        has_hours = any(":" in text and not _MIDNIGHT.search(text) for text in self.table.columns[self.time].values)
        parts = [*(["hour_of_day"] if has_hours else []), "day_of_week"]
        return [part for part in parts if part not in self.table.columns]

    @property
    def rarest(self) -> tuple[str, int] | None:
        """The class that fewest rows have, with their number."""
        if self.task == "regression":
            return None
        counts: Counter[str] = Counter()
        for text, count in self.table.columns[self.target].values.items():
            counts[text.lower() if self.positive else text] += count
        return min(counts.items(), key=lambda one: one[1])

    @property
    def shares(self) -> dict[str, float]:
        """How many of the rows validate and test, of the split at random; more where a class is rare."""
        is_rare = self.rarest is not None and self.rarest[1] < 100
        return {"validation": 0.2 if is_rare else 0.1, "test": 0.2}

    @property
    def spans(self) -> dict[str, str]:
        """How long validation and test are, of the split by time."""
        assert self.partitions is not None
        count = len(self.partitions.keys)
        lengths = {"validation": max(1, round(count / 10)), "test": max(1, round(count / 5))}
        return {name: f"{n} {self.partitions.every}{'s' if n > 1 else ''}" for name, n in lengths.items()}

    @property
    def gate(self) -> dict[str, Any]:
        """What a model must keep to be better than one that knows nothing."""
        if self.task == "binary":
            return {"name": "better_than_chance", "metric": "roc_auc", "at_least": 0.5}
        if self.task == "regression":
            return {"name": "better_than_the_mean", "metric": "r2", "at_least": 0.0}
        counts = self.table.columns[self.target].values.values()
        # Rounded down, so that the gate is never above what the most frequent class gives.
        share = math.floor(1000 * max(counts) / sum(counts)) / 1000
        return {"name": "better_than_the_most_frequent", "metric": "accuracy", "at_least": share}


def draft_pipeline(name: str, table: TableProfile, target: str, time: str | None = None) -> Draft:
    """Returns the draft of a pipeline over a table.

    Raises:
        DataError: a column that is not there, or cannot be a target or a time.
    """
    for option, column in (("--target", target), ("--time", time)):
        if column is not None and column not in table.columns:
            raise DataError(
                f"{option}: {table.path} has no column {column!r}: {expected_one_of(column, table.columns)}"
            )
    if time == target:
        raise DataError(f"--time: {time!r} is the target; a time that is to be predicted cannot split the rows")
    task, label, positive = _task_of(table.columns[target])
    partitions = None if time is None else _partitions_of(table, time)
    key, numbered = _key_of(table, target, time)
    numbers, categories, left_out = _roles(table, {target, time, *key})
    draft = Draft(
        name, table, target, time, task, label, positive, key, numbered, partitions,
        tuple(numbers), tuple(categories), left_out,
    )  # fmt: skip
    if not numbers and not categories and not draft.parts_of_time:
        out = "".join(f"; {column} {why}" for column, why in left_out.items())
        raise DataError(f"{table.path}: no column is left to learn from: the key is {', '.join(key)}{out}")
    return draft


def _task_of(target: ColumnProfile) -> tuple[str, str | None, str | None]:
    """Returns the task, the SQL that makes the label of the target, and the text that means yes."""
    values, name = set(target.values), quoted_name(target.name)
    if len(values) < 2:
        raise DataError(
            f"--target: {target.name!r} has one value in all rows ({first_few(list(values))}); expected two"
        )
    small = {value.lower() for value in values}
    if target.type == "boolean":
        return "binary", None, None
    if small in _PAIRS:
        positive = max(small)  # yes, y, true and t come after no, n, false and f
        return "binary", f"lower({name}) = '{positive}'", positive
    if target.type in ("integer", "number"):
        return *_task_of_numbers({float(value) for value in values}, name, is_whole=target.type == "integer"), None
    if target.type == "string" and len(values) <= MOST_CLASSES:
        return "multiclass", None, None
    raise DataError(
        f"--target: {target.name!r} is {target.type} with {len(values):,} different values; expected a number, a "
        f"boolean, or text of {MOST_CLASSES} classes at most"
    )


def _task_of_numbers(values: set[float], name: str, *, is_whole: bool) -> tuple[str, str | None]:
    """Returns the task and the SQL of the label; whole numbers with gaps are read as floats, and cast back."""
    if values == {0.0, 1.0}:
        return "binary", None if is_whole else f"{name} = 1"
    if len(values) <= MOST_INTEGER_CLASSES and all(value.is_integer() for value in values):
        return "multiclass", None if is_whole else f"CAST({name} AS BIGINT)"
    return "regression", None


def _key_of(table: TableProfile, target: str, time: str | None) -> tuple[tuple[str, ...], bool]:
    """Returns what identifies a row: one column, the time and one column, else the row's place in the file."""
    whole = [
        column.name
        for column in table.of_type("integer", "string", "timestamp", "datetime")
        if not column.missing and column.name != target
    ]
    unique = [name for name in whole if table.are_unique(name)]
    if unique:
        order = ["integer", "string", "timestamp", "datetime"]
        # A column that is called an identifier before one that only happens to be unique, such as an amount.
        named = {name: not _IDENTIFIER.search(name) for name in unique}
        return (min(unique, key=lambda name: (named[name], order.index(table.columns[name].type))),), False
    if time in whole:
        for name in whole:
            if name != time and table.are_unique(time, name):
                return (time, name), False
    names = ("row", "row_number", *(f"row_number_{count}" for count in range(2, len(table.columns) + 2)))
    return (next(name for name in names if name not in table.columns),), True


def _partitions_of(table: TableProfile, time: str) -> Partitions:
    """Returns the longest spans of which there are enough, each with rows."""
    column = table.columns[time]
    if column.type not in ("datetime", "timestamp"):
        found = next(iter(column.values), "nothing")
        raise DataError(
            f"--time: {time!r} is {column.type}, found {found!r}; expected times such as 2013-01-31 or "
            "2013-01-31 05:15:00, with a zone in all rows or in none"
        )
    if column.missing:
        raise DataError(f"--time: {column.missing:,} of {table.rows:,} rows have no {time!r}; expected it in each row")
    days = _days_of(column)
    if days[-1].year > LAST_YEAR:
        raise DataError(f"--time: {time!r} goes to {days[-1]}; expected no year after {LAST_YEAR}; mend or leave out")
    # From the longest on: fewer partitions are fewer files, and enough for a split.
    for every in ("month", "week", "day"):
        partitions = Partitions.covering(every, days[0], days[-1])
        if len(partitions.keys) < FEWEST_PARTITIONS:
            continue
        empty = _empty_partitions(partitions, days)
        if not empty:
            return partitions
        raise DataError(
            f"--time: no rows of {time!r} in the {every} of {first_few(empty)}; a split by time needs rows in each; "
            "leave --time out (rows are split at random then), or fill the file"
        )
    raise DataError(
        f"--time: {time!r} goes from {days[0]} to {days[-1]}; a split by time needs {FEWEST_PARTITIONS} days; "
        "leave --time out (rows are split at random then)"
    )


def _days_of(column: ColumnProfile) -> list[date]:
    import pandas as pd

    times = pd.to_datetime(list(column.values), format="ISO8601", utc=column.type == "timestamp")
    return sorted(set(times.date))


def _empty_partitions(partitions: Partitions, days: Sequence[date]) -> list[str]:
    # Starts are sorted, so the partition of a day is found without walking through them.
    starts = [date.fromisoformat(key) for key in partitions.keys]
    filled = {bisect_right(starts, day) - 1 for day in days}
    return [key for place, key in enumerate(partitions.keys) if place not in filled]


def _roles(table: TableProfile, taken: set[str | None]) -> tuple[list[str], list[str], dict[str, str]]:
    numbers, categories, left_out = [], [], {}
    for column in table.columns.values():
        if column.name in taken:
            continue
        if column.distinct < 2:
            left_out[column.name] = "has one value in all rows" if column.distinct else "is empty"
        # A number in each row is learnt by heart and says nothing of new rows.
        elif column.type == "integer" and column.distinct == table.rows:
            left_out[column.name] = "has another value in each row, as identifiers have"
        elif column.type in ("integer", "number", "boolean"):
            numbers.append(column.name)
        # The drafted step Codes adds this name.
        elif column.type == "string" and f"{column.name}_code" in table.columns:
            left_out[column.name] = f"would be coded as {column.name}_code, which is there already"
        elif column.type == "string" and column.distinct <= MOST_CATEGORIES:
            categories.append(column.name)
        elif column.type == "string":
            left_out[column.name] = f"is text with {column.distinct:,} different values"
        else:
            left_out[column.name] = "is a time; Calendar makes numbers of one"
    return numbers, categories, left_out
