"""Defines `AsOfLookup`: the newest row of another table that was known some time before (merge_asof)."""

from collections.abc import Sequence
from datetime import timedelta

import pandas as pd

from ml_platform.contract.transformer import DataTransformer
from ml_platform.errors import DataError, first_few, require_columns
from ml_platform.schema import Column, Schema
from ml_platform.transformers.columns import require_no_clash


class AsOfLookup(DataTransformer):
    """Adds the newest row of another table that was known `lag` before each row's time.

    A row at time t gets the other table's newest row with the same `by` and a time in
    [t - lag - tolerance, t - lag], else missing values: nothing from the future, nothing stale. A row whose `by` or
    time is missing is of no kind: it gets missing values, and gives none. Two rows of the other table with the same
    `by` and time and other values are refused, as only their order could choose one.

    Args:
        on: the time column, in both tables.
        by: columns that must be equal; may be empty.
        columns: number columns of the other table to add.
        lag_hours: how long before the row's time the other row must have been there; 0 or more.
        tolerance_hours: how much older still it may be; 0 or more.

    Examples:
        >>> at = pd.to_datetime(["2013-01-01 05:00", "2013-01-01 09:00"], utc=True)
        >>> flights = pd.DataFrame({"origin": ["JFK", "JFK"], "at": at})
        >>> weather = pd.DataFrame({"origin": ["JFK", "JFK"], "at": at, "temp": [30.0, 40.0]})
        >>> step = AsOfLookup("at", ["origin"], ["temp"], lag_hours=1, tolerance_hours=6)
        >>> step.transform(flights, weather=weather)["temp"].tolist()
        [nan, 30.0]
    """

    depends_on_threads = False

    def __init__(
        self,
        on: str,
        by: Sequence[str],
        columns: Sequence[str],
        lag_hours: float = 1,
        tolerance_hours: float = 0,
    ):
        self.on = on
        self.by = by
        self.columns = columns
        self.lag_hours = lag_hours
        self.tolerance_hours = tolerance_hours

    @property
    def as_of(self) -> str:
        """The time column."""
        return self.on

    @property
    def input_schema(self) -> Schema:
        """Needs the time and what must be equal."""
        return Schema.of(**{**dict.fromkeys(self.by, "any?"), self.on: "datetime|timestamp"})

    @property
    def side_schema(self) -> Schema:
        """Needs the same of the other table, and the columns to add."""
        keys = {self.on: "datetime|timestamp", **dict.fromkeys(self.by, "any?")}
        return Schema.of(**{**keys, **dict.fromkeys(self.columns, "number?")})

    @property
    def lookback(self) -> timedelta:
        """Reaches back by lag and tolerance."""
        return timedelta(hours=self.lag_hours + self.tolerance_hours)

    def output_schema(self, schema: Schema, **side: Schema) -> Schema:
        """Adds the other table's columns, as numbers that may be missing.

        Raises:
            DataError: not one other table, a column that either lacks or that the first has already, or a time that
                lies in the future.
        """
        self._require_past()
        if len(side) != 1:
            raise DataError(f"AsOfLookup takes one other input, found {len(side)}")
        (name, other), keys = next(iter(side.items())), [self.on, *self.by]
        if not schema.is_open:
            require_columns(schema.names, keys, "AsOfLookup, first input")
        if not other.is_open:
            require_columns(other.names, [*keys, *self.columns], f"AsOfLookup, input {name!r}")
        for column in (c for c in other.columns if c.name in self.columns):
            if column.type not in ("number", "any"):
                raise DataError(f"AsOfLookup, input {name!r}: column {column.name!r} is {column.type}; expected number")
        require_no_clash(list(self.columns), schema.names, "AsOfLookup")
        return schema.with_columns(Column(column, "number", nullable=True) for column in self.columns)

    def _require_past(self) -> None:
        for name, hours in (("lag_hours", self.lag_hours), ("tolerance_hours", self.tolerance_hours)):
            if hours < 0:
                raise DataError(f"AsOfLookup: {name} is {hours!r}; expected 0 or more: nobody knows the future")

    def _known(self, other: pd.DataFrame) -> pd.DataFrame:
        """Returns the rows to look up, sorted; refuses those that only their order could choose between."""
        keys = [self.on, *self.by]
        known = other[list(dict.fromkeys([*keys, *self.columns]))].dropna(subset=keys).drop_duplicates()
        twice = known[known.duplicated(keys)]
        if len(twice):
            rows = twice[keys].astype("str").to_dict("records")
            raise DataError(
                f"AsOfLookup: the other input has several rows of one time and kind, with other values: "
                f"{first_few(rows, 2)}; aggregate them to one before"
            )
        # Sorted by the other keys as well, so that rows of equal time stand in one order whatever they came in.
        return known.sort_values(keys)

    def transform(self, X: pd.DataFrame, **side: pd.DataFrame) -> pd.DataFrame:
        """Adds the columns; rows keep their order."""
        (other,) = side.values()
        self._require_past()
        require_no_clash(list(self.columns), list(X.columns), "AsOfLookup")
        known = self._known(other)
        # The lag is added to the other table's times: merge_asof looks back from a time, not from a time less a lag.
        lagged = known.assign(**{self.on: known[self.on] + timedelta(hours=self.lag_hours)})
        wanted = X[[self.on, *self.by]].reset_index(drop=True)
        ordered = wanted.dropna(subset=[self.on]).sort_values(self.on, kind="stable")
        tolerance = pd.Timedelta(hours=self.tolerance_hours)
        found = pd.merge_asof(ordered, lagged, on=self.on, by=list(self.by) or None, tolerance=tolerance)
        # merge_asof numbers its result anew; rows find their way back by the index of what was asked.
        found.index = ordered.index
        values = found.reindex(wanted.index)[list(self.columns)].set_axis(X.index)
        return X.assign(**{name: values[name].astype("float64") for name in self.columns})
