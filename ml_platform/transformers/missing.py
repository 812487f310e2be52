"""Defines `FillMissing`: fills missing values with one learnt from the training rows (imputation)."""

from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
import pandas as pd

from ml_platform.contract.transformer import DataTransformer
from ml_platform.errors import DataError, expected_one_of
from ml_platform.schema import Column, Schema
from ml_platform.transformers.columns import NUMBERS, require_no_clash, require_typed

_TYPES = {
    "median": NUMBERS,
    "mean": NUMBERS,
    "most_frequent": f"{NUMBERS}|string",
    "constant": f"{NUMBERS}|string",
}


class FillMissing(DataTransformer):
    """Puts a value of the training rows where one is missing, and says where it did.

    The values are those of scikit-learn's `SimpleImputer`. Whole numbers become numbers.

    Args:
        columns: number or integer columns, or string columns for `most_frequent` and `constant`; they are changed in
            their place.
        strategy: `median`, `mean`, `most_frequent` (the smallest of several) or `constant`.
        indicators: whether column `c` also gives the boolean column `c_missing`.
        fill_value: the value for `constant`; by default 0, or "missing_value" in string columns.

    Examples:
        >>> seen = pd.DataFrame({"seats": [100.0, 200.0, 400.0, None]})
        >>> FillMissing(["seats"]).fit(seen).transform(seen)
           seats  seats_missing
        0  100.0          False
        1  200.0          False
        2  400.0          False
        3  200.0           True
    """

    learns = True
    depends_on_threads = False

    def __init__(
        self,
        columns: Sequence[str],
        strategy: Literal["median", "mean", "most_frequent", "constant"] = "median",
        indicators: bool = True,
        fill_value: float | str | None = None,
    ):
        self.columns = columns
        self.strategy = strategy
        self.indicators = indicators
        self.fill_value = fill_value

    @property
    def input_schema(self) -> Schema:
        """Needs the columns."""
        return Schema.of(**dict.fromkeys(self.columns, f"{_TYPES.get(self.strategy, NUMBERS)}?"))

    def output_schema(self, schema: Schema, **side: Schema) -> Schema:
        """Returns the same columns without missing values, and the indicators.

        Raises:
            DataError: no such strategy, or a column that is not there or of another type.
        """
        if self.strategy not in _TYPES:
            raise DataError(f"FillMissing has no strategy {self.strategy!r}: {expected_one_of(self.strategy, _TYPES)}")
        require_typed(schema, self.columns, _TYPES[self.strategy], "FillMissing")
        filled = [Column(name, self._type_of(name, schema)) for name in self.columns]
        require_no_clash(self._indicators(), schema.names, "FillMissing")
        added = [Column(name, "boolean") for name in self._indicators()]
        return schema.with_columns([*filled, *added])

    def _indicators(self) -> list[str]:
        return [f"{name}_missing" for name in self.columns if self.indicators]

    def _type_of(self, name: str, schema: Schema) -> str:
        if _TYPES[self.strategy] == NUMBERS:
            return "number"
        known = schema[name].type if name in schema.names else "any"
        return "number" if known in ("integer", "number") else "string" if known == "string" else "any"

    def fit(self, X: pd.DataFrame, y: Any = None, **side: pd.DataFrame) -> Self:
        """Takes a value for each column."""
        require_typed(X, self.columns, _TYPES[self.strategy], "FillMissing")
        self.values_ = {name: self._value(X[name]) for name in self.columns}
        return self

    def _value(self, column: pd.Series) -> float | str:
        from sklearn.impute import SimpleImputer  # takes a quarter of a second, which no other step needs

        is_text = pd.api.types.is_string_dtype(column)
        if self.strategy != "constant" and column.isna().all():
            raise DataError(f"FillMissing: column {column.name!r}: expected a value in the training rows, found none")
        # SimpleImputer takes a column of texts as objects and knows a missing value by NaN alone.
        known = column.to_numpy("object" if is_text else "float64", na_value=np.nan).reshape(-1, 1)
        imputer = SimpleImputer(strategy=self.strategy, fill_value=self.fill_value, keep_empty_features=True)
        try:
            value = imputer.fit(known).statistics_[0]
        except ValueError as error:
            raise DataError(f"FillMissing: column {column.name!r} is {column.dtype}: {error}") from error
        return str(value) if is_text else float(value)

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Fills the columns and adds the indicators."""
        require_typed(X, self.columns, _TYPES[self.strategy], "FillMissing")
        require_no_clash(self._indicators(), list(X.columns), "FillMissing")
        filled = {name: self._filled(X[name]) for name in self.columns}
        added = {f"{name}_missing": X[name].isna() for name in self.columns if self.indicators}
        return X.assign(**filled, **added)

    def _filled(self, column: pd.Series) -> pd.Series:
        value = self.values_[str(column.name)]
        return column.astype("str" if isinstance(value, str) else "float64").fillna(value)
