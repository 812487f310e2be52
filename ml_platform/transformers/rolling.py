"""Defines `Rolling`: means, sums, extremes and counts over the last hours (window functions)."""

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import pandas as pd

from ml_platform.contract.transformer import DataTransformer
from ml_platform.errors import DataError, expected_one_of, first_few
from ml_platform.schema import Column, Schema
from ml_platform.transformers.columns import NUMBERS, require_no_clash, require_typed
from ml_platform.transformers.sql import SQL

# 38 digits are what 128 bits hold, so sums of decimals are exact and equal in any order; sums of doubles are neither.
_EXACT = "CAST({0} AS DECIMAL(38, 9))"
_FUNCTIONS = {
    "mean": f"CAST(sum({_EXACT}) OVER past AS DOUBLE) / count({{0}}) OVER past",
    "sum": f"CAST(sum({_EXACT}) OVER past AS DOUBLE)",
    "min": "min({0}) OVER past",
    "max": "max({0}) OVER past",
    "count": "count({0}) OVER past",
}
_LIMIT = 1e15  # of numbers that a decimal with nine places behind the point can add up


class Rolling(DataTransformer):
    """Adds means, sums, extremes or counts of number columns over the last hours of the same kind.

    A row at time t looks at the rows with the same `by` and a time in [u - hours, u), where u = t - lag_hours: neither
    itself nor others of its time. Sums and means are of values rounded to nine places behind the point, which add up
    exactly: an answer is the same to the last bit whichever other rows are computed with it, in whatever order. A row
    that sees no value has a missing answer and the count 0; so has one whose `by` is missing.

    A value is often known later than its row's time: a delay, when the flight has left. `lag_hours` says how much
    later; without it a row sees what nobody knew then, and no check can tell.

    Args:
        columns: number or integer columns, of numbers below 10^15; missing values are passed over.
        by: string or integer columns that must be equal; may be empty.
        on: the time column.
        hours: how far a row looks back.
        functions: of `mean`, `sum`, `min`, `max` and `count` (of values that are not missing). Column `c` gives the
            number column `c_mean_24h`, for 24 hours; counts are integer.
        lag_hours: how long after its time a row's values are known.

    Examples:
        >>> at = pd.to_datetime(["2013-01-01 05:00", "2013-01-01 06:00", "2013-01-01 09:00"])
        >>> flights = pd.DataFrame({"origin": ["JFK", "JFK", "JFK"], "at": at, "delay": [20.0, 4.0, 7.0]})
        >>> Rolling(["delay"], by=["origin"], on="at", hours=6, functions=["mean", "count"]).transform(flights)
          origin                  at  delay  delay_mean_6h  delay_count_6h
        0    JFK 2013-01-01 05:00:00   20.0            NaN               0
        1    JFK 2013-01-01 06:00:00    4.0           20.0               1
        2    JFK 2013-01-01 09:00:00    7.0           12.0               2
    """

    row_wise = False
    depends_on_threads = False

    def __init__(
        self,
        columns: Sequence[str],
        by: Sequence[str],
        on: str,
        hours: float,
        functions: Sequence[str] = ("mean",),
        lag_hours: float = 0,
    ):
        self.columns = columns
        self.by = by
        self.on = on
        self.hours = hours
        self.functions = functions
        self.lag_hours = lag_hours

    @property
    def as_of(self) -> str:
        """The time column."""
        return self.on

    @property
    def lookback(self) -> timedelta:
        """Reaches back by lag and hours."""
        return timedelta(hours=self.hours + self.lag_hours)

    @property
    def input_schema(self) -> Schema:
        """Needs the time, what must be equal, and the numbers."""
        numbers = dict.fromkeys(self.columns, f"{NUMBERS}?")
        return Schema.of(**{**numbers, **dict.fromkeys(self.by, "any?"), self.on: "datetime|timestamp"})

    def output_schema(self, schema: Schema, **side: Schema) -> Schema:
        """Adds a column for each column and function.

        Raises:
            DataError: no such function, no time to look back, or a column that is not there or of another type.
        """
        for function in self.functions:
            if function not in _FUNCTIONS:
                raise DataError(f"Rolling has no function {function!r}: {expected_one_of(function, _FUNCTIONS)}")
        if self.hours <= 0:
            raise DataError(f"Rolling: hours is {self.hours!r}; expected more than 0")
        if self.lag_hours < 0:
            raise DataError(f"Rolling: lag_hours is {self.lag_hours!r}; expected 0 or more: nobody knows the future")
        self._require(schema)
        require_no_clash([name for name, *_ in self._added()], schema.names, "Rolling")
        return schema.with_columns(
            Column(name, "integer") if function == "count" else Column(name, "number", nullable=True)
            for name, _, function in self._added()
        )

    def _require(self, given: Schema | pd.DataFrame) -> None:
        require_typed(given, self.columns, NUMBERS, "Rolling")
        require_typed(given, self.by, "string|integer|boolean", "Rolling, by")
        require_typed(given, [self.on], "datetime|timestamp", "Rolling, on")

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Adds the columns; rows keep their order."""
        self._require(X)
        require_no_clash([name for name, *_ in self._added()], list(X.columns), "Rolling")
        if X[self.on].isna().any():
            places = np.flatnonzero(X[self.on].isna()).tolist()
            raise DataError(
                f"Rolling: column {self.on!r}: expected a time in each row, none in row {first_few(places)}"
            )
        values = {f"v{place}": self._numbers(X[name]) for place, name in enumerate(self.columns)}
        # As whole microseconds, so that the bounds of the window are whole numbers, too.
        times = X[self.on].dt.as_unit("us").to_numpy("datetime64[us]").view("int64")
        frame = pd.DataFrame({"place": np.arange(len(X)), "kind": self._kinds(X), "moment": times, **values})
        answers = self._query().transform(frame)
        added: dict[str, pd.Series] = {}
        for place, (name, _, function) in enumerate(self._added()):
            # A missing `by` got the kind -1, whose rows DuckDB took for one kind.
            added[name] = answers[f"a{place}"].mask(frame["kind"] < 0, 0 if function == "count" else np.nan)
        return X.assign(**{name: answer.array for name, answer in added.items()})

    def _kinds(self, X: pd.DataFrame) -> np.ndarray:
        """Numbers the combinations of `by`; where it is missing, -1."""
        if not self.by:
            return np.zeros(len(X), "int64")
        numbers = X.groupby(list(self.by), sort=False, observed=True).ngroup()
        return numbers.fillna(-1).to_numpy("int64")

    def _added(self) -> list[tuple[str, str, str]]:
        """Lists each new column with the SQL name of its values and its function."""
        return [
            (f"{name}_{function}_{self.hours:g}h", f"v{place}", function)
            for place, name in enumerate(self.columns)
            for function in self.functions
        ]

    def _query(self) -> SQL:
        asked = [_FUNCTIONS[function].format(values) for _, values, function in self._added()]
        added = "".join(f", {text} AS a{place}" for place, text in enumerate(asked))
        first, last = (round(hours * 3_600_000_000) for hours in (self.hours + self.lag_hours, self.lag_hours))
        # The window is [u - hours, u): RANGE includes both ends, hence one microsecond more of distance at the near
        # end.
        frame = f"RANGE BETWEEN {first} PRECEDING AND {last + 1} PRECEDING"  # microseconds
        window = f"(PARTITION BY kind ORDER BY moment {frame})"
        return SQL(f"SELECT place{added} FROM numbered WINDOW past AS {window}", key=["place"])  # noqa: S608  (our own names)

    def _numbers(self, column: pd.Series) -> np.ndarray:
        """Returns a column's numbers, and refuses those that cannot be added up exactly."""
        numbers = column.to_numpy("float64", na_value=np.nan)
        large = np.flatnonzero(np.abs(numbers) >= _LIMIT)
        if len(large):
            found = first_few([f"{numbers[place]:g} in row {place}" for place in large])
            raise DataError(f"Rolling: column {column.name!r}: expected numbers below {_LIMIT:g}, found {found}")
        return numbers + 0.0  # makes -0.0 the 0.0 that it equals
