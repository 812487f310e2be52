"""Steps whose answers are exact on every processor, one of each kind that the base class knows."""

from datetime import timedelta

import pandas as pd

from ml_platform import DataTransformer, Schema
from ml_platform.schema import Column


class YearBuilt(DataTransformer):
    """Looks a number up in another input."""

    depends_on_threads = False

    def output_schema(self, schema: Schema, **side: Schema) -> Schema:
        return schema.with_columns([Column("year_built", "number", nullable=True)])

    def transform(self, X: pd.DataFrame, planes: pd.DataFrame) -> pd.DataFrame:
        years = planes.set_index("tailnum")["year"]
        return X.assign(year_built=X["tailnum"].map(years).astype("float64"))


class DelaysBefore(DataTransformer):
    """Looks back in its own rows, over the end of a month."""

    row_wise = False
    depends_on_threads = False

    @property
    def as_of(self) -> str:
        return "time_hour"

    @property
    def lookback(self) -> timedelta:
        return timedelta(days=40)

    def output_schema(self, schema: Schema, **side: Schema) -> Schema:
        return schema.with_columns([Column("late_before", "number", nullable=True)])

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        before = X.rolling("40D", on="time_hour", closed="left")["dep_delay"].max()
        return X.assign(late_before=before.astype("float64").fillna(-1))
