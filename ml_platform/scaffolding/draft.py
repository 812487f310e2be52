"""Decides what a first pipeline over an unknown table looks like: task, key, partitions, split, features."""

import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from ml_platform.errors import DataError, expected_one_of, first_few
from ml_platform.scaffolding.profile import ColumnProfile, TableProfile
from ml_platform.sources import Partitions

ROW_NUMBER = "row"
MOST_CLASSES = 30
MOST_INTEGER_CLASSES = 10
MOST_CATEGORIES = 50
FEWEST_PARTITIONS = 6  # so that training has more of them than validation and test
_MIDNIGHT = re.compile(r"[ T]00:00(:00)?")
# What people write for yes and no, the yes in front.
_PAIRS = ({"yes", "no"}, {"y", "n"}, {"true", "false"}, {"t", "f"})


@dataclass(frozen=True)
class Draft:
    """What the files of a new pipeline say.

    Attributes:
        positive: the text of the target that means yes, where the target is text and the task binary.
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
    positive: str | None
    key: tuple[str, ...]
    numbered: bool
    partitions: Partitions | None
    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    left_out: dict[str, str]

    @property
    def parts_of_time(self) -> list[str]:
        """Parts of the time that models get; the hour only where there are hours."""
        if self.time is None:
            return []
        has_hours = any(":" in text and not _MIDNIGHT.search(text) for text in self.table.columns[self.time].values)
        return [*(["hour_of_day"] if has_hours else []), "day_of_week"]

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
        share = math.floor(1000 * max(counts) / sum(counts)) / 1000
        return {"name": "better_than_the_most_frequent", "metric": "accuracy", "at_least": share}


def draft_pipeline(name: str, table: TableProfile, target: str, time: str | None = None) -> Draft:
    """Looks at a table and decides.

    Raises:
        DataError: a column that is not there, or cannot be a target or a time.
    """
    for option, column in (("--target", target), ("--time", time)):
        if column is not None and column not in table.columns:
            raise DataError(
                f"{option}: {table.path} has no column {column!r}: {expected_one_of(column, table.columns)}"
            )
    task, positive = _task_of(table.columns[target])
    key, numbered = _key_of(table, target, time)
    partitions = None if time is None else _partitions_of(table, time)
    numbers, categories, left_out = _roles(table, {target, time, *key})
    if not numbers and not categories and time is None:
        raise DataError(f"{table.path}: no column is left for a model to learn from: {left_out}")
    return Draft(
        name,
        table,
        target,
        time,
        task,
        positive,
        key,
        numbered,
        partitions,
        tuple(numbers),
        tuple(categories),
        left_out,
    )


def _task_of(target: ColumnProfile) -> tuple[str, str | None]:
    """Tells the task, and the text that means yes."""
    values = set(target.values)
    if len(values) < 2:
        raise DataError(
            f"--target: {target.name!r} has one value in all rows ({first_few(list(values))}); expected two"
        )
    if target.type == "boolean":
        return "binary", None
    if {value.lower() for value in values} in _PAIRS:
        return "binary", max(values)  # yes, y, true and t come after no, n, false and f
    if target.type in ("integer", "number") and {float(value) for value in values} == {0.0, 1.0}:
        return "binary", None if target.type == "integer" else max(values)
    if target.type == "integer" and len(values) <= MOST_INTEGER_CLASSES:
        return "multiclass", None
    if target.type in ("integer", "number"):
        return "regression", None
    if target.type == "string" and len(values) <= MOST_CLASSES:
        return "multiclass", None
    raise DataError(
        f"--target: {target.name!r} is {target.type} with {len(values):,} different values; expected a number, a "
        f"boolean, or text of {MOST_CLASSES} classes at most"
    )


def _key_of(table: TableProfile, target: str, time: str | None) -> tuple[tuple[str, ...], bool]:
    """Finds what identifies a row: one column, the time and one column, else the row's place in the file."""
    whole = [
        column.name
        for column in table.of_type("integer", "string", "timestamp", "datetime")
        if not column.missing and column.name != target
    ]
    unique = [name for name in whole if table.columns[name].distinct == table.rows]
    if unique:
        order = ["integer", "string", "timestamp", "datetime"]
        return (min(unique, key=lambda name: order.index(table.columns[name].type)),), False
    if time in whole:
        for name in whole:
            if name != time and _distinct_pairs(table, time, name) == table.rows:
                return (time, name), False
    return (ROW_NUMBER,), True


def _distinct_pairs(table: TableProfile, one: str, other: str) -> int:
    return int(table.text.select([one, other]).group_by([one, other]).aggregate([]).num_rows)


def _partitions_of(table: TableProfile, time: str) -> Partitions:
    """Takes the longest spans of which there are enough, each with rows."""
    column = table.columns[time]
    if column.type not in ("datetime", "timestamp"):
        raise DataError(f"--time: {time!r} is {column.type}; expected times such as 2013-01-31 or 2013-01-31 05:15:00")
    if column.missing:
        raise DataError(f"--time: {column.missing:,} of {table.rows:,} rows have no {time!r}; expected it in each row")
    days = _days_of(column)
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
        elif column.type == "integer" and column.distinct == table.rows:
            left_out[column.name] = "has another value in each row, as identifiers have"
        elif column.type in ("integer", "number", "boolean"):
            numbers.append(column.name)
        elif column.type == "string" and column.distinct <= MOST_CATEGORIES:
            categories.append(column.name)
        elif column.type == "string":
            left_out[column.name] = f"is text with {column.distinct:,} different values"
        else:
            left_out[column.name] = "is a time; Calendar makes numbers of one"
    return numbers, categories, left_out
