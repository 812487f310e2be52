"""Defines `Calendar`: hour, weekday, day of the year and other parts of a time, as integers."""

from collections.abc import Callable, Sequence

import pandas as pd

from ml_platform.contract.transformer import DataTransformer
from ml_platform.errors import DataError, expected_one_of, require_columns
from ml_platform.schema import Column, Schema
from ml_platform.transformers.columns import require_no_clash

_PARTS: dict[str, Callable[[pd.Series], pd.Series]] = {
    "minute_of_day": lambda times: times.dt.hour * 60 + times.dt.minute,
    "hour_of_day": lambda times: times.dt.hour,
    "day_of_week": lambda times: times.dt.day_of_week,  # Monday is 0
    "day_of_month": lambda times: times.dt.day,
    "day_of_year": lambda times: times.dt.day_of_year,
    "month_of_year": lambda times: times.dt.month,
}


class Calendar(DataTransformer):
    """Adds parts of a time as integer columns.

    Args:
        column: a datetime or timestamp column without missing values.
        parts: of `minute_of_day`, `hour_of_day`, `day_of_week` (Monday is 0), `day_of_month`, `day_of_year`,
            `month_of_year`; each becomes a column of that name.

    Examples:
        >>> frame = pd.DataFrame({"at": pd.to_datetime(["2013-01-01 05:15"])})
        >>> Calendar("at", ["minute_of_day", "day_of_week"]).transform(frame)
                           at  minute_of_day  day_of_week
        0 2013-01-01 05:15:00            315            1
    """

    depends_on_threads = False

    def __init__(self, column: str, parts: Sequence[str] = ("minute_of_day", "day_of_week", "day_of_year")):
        self.column = column
        self.parts = parts

    @property
    def input_schema(self) -> Schema:
        """Needs the time."""
        return Schema.of(**{self.column: "datetime|timestamp"})

    def output_schema(self, schema: Schema, **side: Schema) -> Schema:
        """Adds the parts.

        Raises:
            DataError: no such part, no such column, or one that is no time.
        """
        for part in self.parts:
            if part not in _PARTS:
                raise DataError(f"Calendar has no part {part!r}: {expected_one_of(part, _PARTS)}")
        if not schema.is_open or self.column in schema.names:
            require_columns(schema.names, [self.column], "Calendar")
            kind = schema[self.column].type
            if kind not in ("datetime", "timestamp", "any"):
                raise DataError(f"Calendar: column {self.column!r} is {kind}; expected datetime or timestamp")
        require_no_clash(list(self.parts), schema.names, "Calendar")
        return schema.with_columns(Column(part, "integer") for part in self.parts)

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Adds the parts."""
        require_no_clash(list(self.parts), list(X.columns), "Calendar")
        # pandas gives 32 bits; frames are stored with 64.
        return X.assign(**{part: _PARTS[part](X[self.column]).astype("int64") for part in self.parts})
