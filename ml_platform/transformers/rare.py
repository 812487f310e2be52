"""Defines `RareCategories`: one word for all categories that are rare in the training rows."""

from collections.abc import Sequence
from typing import Any, Self

import pandas as pd

from ml_platform.contract.transformer import DataTransformer
from ml_platform.errors import DataError
from ml_platform.schema import Column, Schema
from ml_platform.transformers.columns import require_no_clash, require_typed


class RareCategories(DataTransformer):
    """Puts one word in the place of categories that are rare in the training rows.

    A value that was not seen is rare. Missing values stay missing, and count among the rows.

    Args:
        columns: string columns.
        min_frequency: the share of the training rows, in [0, 1], from which on a category is kept.
        other: what stands for all others.
        suffix: names the results `<column><suffix>`; without one the columns are changed in their place.

    Examples:
        >>> seen = pd.DataFrame({"dest": ["BOS", "BOS", "BOS", "ORD"]})
        >>> step = RareCategories(["dest"], min_frequency=0.5).fit(seen)
        >>> step.transform(pd.DataFrame({"dest": ["BOS", "ORD", "XXX"]}))
            dest
        0    BOS
        1  other
        2  other
    """

    learns = True
    depends_on_threads = False

    def __init__(self, columns: Sequence[str], min_frequency: float = 0.01, other: str = "other", suffix: str = ""):
        self.columns = columns
        self.min_frequency = min_frequency
        self.other = other
        self.suffix = suffix

    @property
    def input_schema(self) -> Schema:
        """Needs the columns."""
        return Schema.of(**dict.fromkeys(self.columns, "string?"))

    def output_schema(self, schema: Schema, **side: Schema) -> Schema:
        """Returns the columns, or adds those with the suffix.

        Raises:
            DataError: a share outside of [0, 1], or a column that is not there or no string.
        """
        if not 0 <= self.min_frequency <= 1:
            raise DataError(f"RareCategories: min_frequency is {self.min_frequency!r}; expected a share in 0..1")
        require_typed(schema, self.columns, "string", "RareCategories")
        require_no_clash(self._added(), schema.names, "RareCategories")
        return schema.with_columns(Column(f"{name}{self.suffix}", "string", nullable=True) for name in self.columns)

    def _added(self) -> list[str]:
        """Lists the columns that are new; without a suffix they replace the declared ones."""
        return [f"{name}{self.suffix}" for name in self.columns if self.suffix]

    def fit(self, X: pd.DataFrame, y: Any = None, **side: pd.DataFrame) -> Self:
        """Counts the values of each column."""
        require_typed(X, self.columns, "string", "RareCategories")
        self.kept_ = {name: self._common(X[name]) for name in self.columns}
        for name, kept in self.kept_.items():
            if self.other in kept:
                raise DataError(
                    f"RareCategories: column {name!r} has a category {self.other!r} of its own, which rare ones would "
                    "merge with; name theirs otherwise by `other`"
                )
        return self

    def _common(self, values: pd.Series) -> list[str]:
        # Of all rows, missing ones included: value_counts leaves them out, `normalize=True` would divide by the rest.
        shares = values.value_counts() / len(values)
        return sorted(map(str, shares[shares >= self.min_frequency].index))

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Replaces rare values in the columns, or in copies of them."""
        require_typed(X, self.columns, "string", "RareCategories")
        require_no_clash(self._added(), list(X.columns), "RareCategories")
        return X.assign(**{f"{name}{self.suffix}": self._changed(X[name]) for name in self.columns})

    def _changed(self, values: pd.Series) -> pd.Series:
        is_kept = values.isin(self.kept_[str(values.name)]) | values.isna()
        return values.astype("str").where(is_kept, self.other)
