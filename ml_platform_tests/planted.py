"""Transformers whose answers depend on what no version can see: an environment variable stands for it."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.linear_model import LogisticRegression

from ml_platform.transformers import SQL


class UnsortedSQL(SQL):
    """A query without an order, on a day when the engine gives its rows the other way round."""

    @contextmanager
    def transform_files(self, paths: Sequence[Path], **side: Sequence[Path]) -> Iterator[Any]:
        with super().transform_files(paths, **side) as reader:
            table = reader.read_all()
            rows = list(range(table.num_rows))
            yield table.take(pa.array(rows[::-1] if "PLANTED_ORDER" in os.environ else rows)).to_reader()


class Flipped(LogisticRegression):
    """A model whose answers depend on code that what it learnt does not show; `FLIP` stands for an edit of it."""

    FLIP = False

    def predict_proba(self, X: Any) -> Any:
        answers = super().predict_proba(np.nan_to_num(X))
        return answers[:, ::-1] if self.FLIP else answers

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "Flipped":
        return super().fit(np.nan_to_num(X), y)
