"""Defines `Frequencies`: the share of the training rows that had a category (count encoding)."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd

from ml_platform.contract.transformer import DataTransformer
from ml_platform.errors import DataError, require_columns
from ml_platform.schema import Column, Schema
from ml_platform.transformers.columns import require_no_clash


class Frequencies(DataTransformer):
    """Adds, for each category column, the share of the training rows that had the row's value.

    It looks at no target. A value that was not seen, or is missing, has the share 0.

    Args:
        columns: string columns; column `c` gives the number column `c_share`, in [0, 1].

    Examples:
        >>> seen = pd.DataFrame({"dest": ["BOS", "BOS", "ORD", "BOS"]})
        >>> step = Frequencies(["dest"]).fit(seen)
        >>> step.transform(pd.DataFrame({"dest": ["ORD", "XXX"]}))["dest_share"].tolist()
        [0.25, 0.0]
    """

    learns = True
    depends_on_threads = False

    def __init__(self, columns: Sequence[str]):
        self.columns = columns

    @property
    def input_schema(self) -> Schema:
        """Needs the columns."""
        return Schema.of(**dict.fromkeys(self.columns, "string?"))

    def output_schema(self, schema: Schema, **side: Schema) -> Schema:
        """Adds a share for each column."""
        if not schema.is_open:
            require_columns(schema.names, self.columns, "Frequencies")
        for column in (c for c in schema.columns if c.name in self.columns):
            if column.type not in ("string", "any"):
                raise DataError(f"Frequencies: column {column.name!r} is {column.type}; expected string")
        require_no_clash(self._added(), schema.names, "Frequencies")
        return schema.with_columns(Column(name, "number", False, 0, 1) for name in self._added())

    def _added(self) -> list[str]:
        return [f"{name}_share" for name in self.columns]

    def fit(self, X: pd.DataFrame, y: Any = None, **side: pd.DataFrame) -> Self:
        """Counts the values of each column."""
        self.shares_ = {name: self._shares(X[name]) for name in self.columns}
        return self

    def _shares(self, values: pd.Series) -> dict[str, float]:
        if not pd.api.types.is_string_dtype(values):
            raise DataError(f"Frequencies: column {values.name!r} is {values.dtype}; expected string")
        # Sorted, as value_counts leaves the order of equal counts open, and equal rows must be learnt to equal bytes.
        counts = values.value_counts().sort_index()
        return {str(value): float(count) / len(values) for value, count in counts.items()}

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Adds the shares."""
        require_no_clash(self._added(), list(X.columns), "Frequencies")
        shares = {f"{name}_share": X[name].map(self.shares_[name]).fillna(0.0) for name in self.columns}
        return X.assign(**{name: values.astype(np.float64) for name, values in shares.items()})
