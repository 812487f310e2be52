"""Defines `Clip`: holds numbers between two quantiles of the training rows (winsorizing)."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd

from ml_platform.contract.transformer import DataTransformer
from ml_platform.errors import DataError
from ml_platform.schema import Column, Schema
from ml_platform.transformers.columns import NUMBERS, require_typed


class Clip(DataTransformer):
    """Holds number columns between two quantiles of the training rows.

    Missing values stay missing. Whole numbers become numbers.

    Args:
        columns: number or integer columns, which are changed in their place.
        lower: the quantile, in [0, 1], that smaller values become.
        upper: the quantile that larger values become.

    Examples:
        >>> seen = pd.DataFrame({"delay": [0.0, 5.0, 10.0, 15.0, 20.0]})
        >>> step = Clip(["delay"], lower=0.25, upper=0.75).fit(seen)
        >>> step.transform(pd.DataFrame({"delay": [-60.0, 7.0, 999.0]}))
           delay
        0    5.0
        1    7.0
        2   15.0
    """

    learns = True
    depends_on_threads = False

    def __init__(self, columns: Sequence[str], lower: float = 0.01, upper: float = 0.99):
        self.columns = columns
        self.lower = lower
        self.upper = upper

    @property
    def input_schema(self) -> Schema:
        """Needs the columns."""
        return Schema.of(**dict.fromkeys(self.columns, f"{NUMBERS}?"))

    def output_schema(self, schema: Schema, **side: Schema) -> Schema:
        """Returns the same columns, as numbers.

        Raises:
            DataError: no quantiles in order, or a column that is not there or no number.
        """
        if not 0 <= self.lower <= self.upper <= 1:
            found = f"lower = {self.lower!r} and upper = {self.upper!r}"
            raise DataError(f"Clip: expected quantiles with 0 <= lower <= upper <= 1, found {found}")
        require_typed(schema, self.columns, NUMBERS, "Clip")
        return schema.with_columns(Column(name, "number", nullable=True) for name in self.columns)

    def fit(self, X: pd.DataFrame, y: Any = None, **side: pd.DataFrame) -> Self:
        """Takes the quantiles of each column."""
        require_typed(X, self.columns, NUMBERS, "Clip")
        self.bounds_ = {name: self._quantiles(X[name]) for name in self.columns}
        return self

    def _quantiles(self, values: pd.Series) -> list[float]:
        with np.errstate(invalid="ignore"):  # of infinite numbers
            bounds = values.astype("float64").quantile([self.lower, self.upper]).tolist()
        if not np.isfinite(bounds).all():
            raise DataError(
                f"Clip: column {values.name!r}: expected finite numbers in the training rows, found {bounds}"
            )
        # Plain floats: learned state is numbers, strings, lists and dicts (`artifacts/objects.py`).
        return [float(bound) for bound in bounds]

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Changes the columns."""
        require_typed(X, self.columns, NUMBERS, "Clip")
        return X.assign(**{name: X[name].astype("float64").clip(*self.bounds_[name]) for name in self.columns})
