"""Transformers whose answers depend on what no version can see: an environment variable stands for it."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.linear_model import LogisticRegression

from ml_platform import DataTransformer
from ml_platform.schema import Column, Schema
from ml_platform.transformers import SQL


class UnsortedSQL(SQL):
    """A query without an order, on a day when the engine gives its rows the other way round."""

    @contextmanager
    def transform_files(self, paths: Sequence[Path], **side: Sequence[Path]) -> Iterator[Any]:
        with super().transform_files(paths, **side) as reader:
            table = reader.read_all()
            rows = list(range(table.num_rows))
            yield table.take(pa.array(rows[::-1] if "PLANTED_ORDER" in os.environ else rows)).to_reader()


class DelaysBefore(DataTransformer):
    """How late the flights of the days before were: looks back in its own rows, over the end of a month."""

    row_wise = False
    depends_on_threads = False
    as_of = "time_hour"

    def __init__(self, days: int = 40):
        self.days = days

    @property
    def lookback(self) -> timedelta:
        return timedelta(days=self.days)

    def output_schema(self, schema: Schema, **side: Schema) -> Schema:
        return schema.with_columns([Column("delays_before", "number", nullable=True)])

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        before = X.rolling(f"{self.days}D", on="time_hour", closed="left")["dep_delay"].max()
        return X.assign(delays_before=before.astype("float64"))


class Hasty(DataTransformer):
    """Works in its constructor."""

    def __init__(self, columns: Sequence[str] = ("dest",)):
        self.columns = [column.lower() for column in columns]

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X


class Vague(DataTransformer):
    """Declares what nobody understands."""

    rows = "some"  # type: ignore[assignment]

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X


class Flipped(LogisticRegression):
    """A model whose answers depend on code that what it learnt does not show; `FLIP` stands for an edit of it."""

    FLIP = False

    def predict_proba(self, X: Any) -> Any:
        answers = super().predict_proba(np.nan_to_num(X))
        return answers[:, ::-1] if self.FLIP else answers

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "Flipped":
        return super().fit(np.nan_to_num(X), y)
