"""Defines `Lag`: a column's value in the newest earlier row of the same kind."""

from collections.abc import Sequence
from datetime import timedelta

import pandas as pd

from ml_platform.contract.transformer import DataTransformer
from ml_platform.errors import DataError
from ml_platform.schema import Column, Schema
from ml_platform.transformers.columns import NUMBERS, require_no_clash, require_typed


class Lag(DataTransformer):
    """Adds what number columns were in the newest earlier row of the same kind.

    A row at time t gets the values of the newest row with the same `by` and a time in [u - within_hours, u), where
    u = t - lag_hours, else missing values. Rows of one kind and time count as one, with the largest value of each
    column, so that their order does not matter. A row whose `by` is missing is of no kind: it gets missing values, and
    gives none.

    A value is often known later than its row's time: a delay, when the flight has left. `lag_hours` says how much
    later; without it a row sees what nobody knew then, and no check can tell.

    Args:
        columns: number or integer columns; column `c` gives the number column `c_before`.
        by: string or integer columns that must be equal; may be empty.
        on: the time column.
        within_hours: how old the earlier row may be.
        suffix: what the new columns' names end in.
        lag_hours: how long after its time a row's values are known.

    Examples:
        >>> at = pd.to_datetime(["2013-01-01 05:00", "2013-01-01 06:00", "2013-01-01 09:00"])
        >>> flights = pd.DataFrame({"plane": ["N1", "N2", "N1"], "at": at, "delay": [20.0, 3.0, 7.0]})
        >>> Lag(["delay"], by=["plane"], on="at", within_hours=6).transform(flights)
          plane                  at  delay  delay_before
        0    N1 2013-01-01 05:00:00   20.0           NaN
        1    N2 2013-01-01 06:00:00    3.0           NaN
        2    N1 2013-01-01 09:00:00    7.0          20.0
    """

    row_wise = False
    depends_on_threads = False

    def __init__(
        self,
        columns: Sequence[str],
        by: Sequence[str],
        on: str,
        within_hours: float,
        suffix: str = "_before",
        lag_hours: float = 0,
    ):
        self.columns = columns
        self.by = by
        self.on = on
        self.within_hours = within_hours
        self.suffix = suffix
        self.lag_hours = lag_hours

    @property
    def as_of(self) -> str:
        """The time column."""
        return self.on

    @property
    def lookback(self) -> timedelta:
        """Reaches back as far as the earlier row may be."""
        return timedelta(hours=self.within_hours + self.lag_hours)

    @property
    def input_schema(self) -> Schema:
        """Needs the time, what must be equal, and the numbers."""
        numbers = dict.fromkeys(self.columns, f"{NUMBERS}?")
        return Schema.of(**{**numbers, **dict.fromkeys(self.by, "any?"), self.on: "datetime|timestamp"})

    def output_schema(self, schema: Schema, **side: Schema) -> Schema:
        """Adds the earlier values, as numbers that may be missing.

        Raises:
            DataError: no time to look back, or a column that is not there or of another type.
        """
        if self.within_hours <= 0:
            raise DataError(f"Lag: within_hours is {self.within_hours!r}; expected more than 0")
        if self.lag_hours < 0:
            raise DataError(f"Lag: lag_hours is {self.lag_hours!r}; expected 0 or more: nobody knows the future")
        self._require(schema)
        require_no_clash(self._added(), schema.names, "Lag")
        return schema.with_columns(Column(name, "number", nullable=True) for name in self._added())

    def _added(self) -> list[str]:
        return [f"{name}{self.suffix}" for name in self.columns]

    def _require(self, given: Schema | pd.DataFrame) -> None:
        require_typed(given, self.columns, NUMBERS, "Lag")
        require_typed(given, self.by, "string|integer|boolean", "Lag, by")
        require_typed(given, [self.on], "datetime|timestamp", "Lag, on")

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Adds the columns; rows keep their order."""
        keys, columns = [self.on, *self.by], list(self.columns)
        self._require(X)
        require_no_clash(self._added(), list(X.columns), "Lag")
        rows = X[list(dict.fromkeys([*keys, *columns]))].reset_index(drop=True)
        rows[columns] = rows[columns].astype("float64") + 0.0  # makes -0.0 the 0.0 that it equals
        # The largest of each column, column by column, as rows of one time have no order that could choose one.
        newest = rows.dropna(subset=keys).groupby(keys, observed=True)[columns].max().reset_index()
        # The lag is added to when a value was known, and the time that asks stays as it is.
        newest[self.on] += timedelta(hours=self.lag_hours)
        wanted = rows[keys].dropna(subset=[self.on]).sort_values(self.on, kind="stable")
        found = pd.merge_asof(
            wanted, newest, on=self.on, by=list(self.by) or None,
            # Without exact matches a row never sees itself, nor others of its own time.
            tolerance=pd.Timedelta(hours=self.within_hours), allow_exact_matches=False,
        ).set_index(wanted.index).reindex(rows.index)  # fmt: skip
        return X.assign(**{f"{name}{self.suffix}": found[name].to_numpy("float64") for name in columns})
