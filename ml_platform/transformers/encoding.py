"""Defines `Codes` (ordinal encoding) and `OneHot` for string columns."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from ml_platform.contract.transformer import DataTransformer
from ml_platform.errors import DataError
from ml_platform.schema import Column, Schema
from ml_platform.transformers.columns import require_no_clash, require_typed


class Codes(DataTransformer):
    """Adds an integer code for each category column: the value's place among those of the training rows, in order.

    It looks at no target. A value that was not seen, or is missing, has the code -1.

    Args:
        columns: string columns; column `c` gives the integer column `c_code`.

    Examples:
        >>> step = Codes(["dest"]).fit(pd.DataFrame({"dest": ["ORD", "BOS", "ORD"]}))
        >>> step.transform(pd.DataFrame({"dest": ["BOS", "ORD", "XXX"]}))
          dest  dest_code
        0  BOS          0
        1  ORD          1
        2  XXX         -1
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
        """Adds a code for each column.

        Raises:
            DataError: a column that is not there or no string.
        """
        require_typed(schema, self.columns, "string", "Codes")
        require_no_clash(self._added(), schema.names, "Codes")
        return schema.with_columns(Column(name, "integer") for name in self._added())

    def _added(self) -> list[str]:
        return [f"{name}_code" for name in self.columns]

    def fit(self, X: pd.DataFrame, y: Any = None, **side: pd.DataFrame) -> Self:
        """Collects the values of each column."""
        require_typed(X, self.columns, "string", "Codes")
        encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)
        self.encoder_ = encoder.fit(_texts(X, self.columns))
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Adds the codes."""
        require_typed(X, self.columns, "string", "Codes")
        require_no_clash(self._added(), list(X.columns), "Codes")
        codes = self.encoder_.transform(_texts(X, self.columns)).astype("int64")
        return X.assign(**{name: codes[:, place] for place, name in enumerate(self._added())})


class OneHot(DataTransformer):
    """Adds a column of 0 and 1 for each category of the training rows: 1 where the row has it.

    It looks at no target. A value that was not seen counts as a rare one; if there are none, and where a value is
    missing, all are 0. Rare values are those that scikit-learn's `OneHotEncoder` puts together.

    Args:
        columns: string columns; category `v` of column `c` gives the number column `c_v`, and the rare ones of it
            together give `c_infrequent_sklearn`.
        max_categories: of how many columns at most, for each column, that of the rare ones included.
        min_frequency: how often a category must be seen: a number of rows, or a share of them.

    Examples:
        >>> step = OneHot(["origin"]).fit(pd.DataFrame({"origin": ["JFK", "LGA", "JFK"]}))
        >>> step.transform(pd.DataFrame({"origin": ["LGA", "JFK", "XXX"]}))
          origin  origin_JFK  origin_LGA
        0    LGA         0.0         1.0
        1    JFK         1.0         0.0
        2    XXX         0.0         0.0
    """

    learns = True
    depends_on_threads = False

    def __init__(
        self, columns: Sequence[str], max_categories: int | None = None, min_frequency: int | float | None = None
    ):
        self.columns = columns
        self.max_categories = max_categories
        self.min_frequency = min_frequency

    @property
    def input_schema(self) -> Schema:
        """Needs the columns."""
        return Schema.of(**dict.fromkeys(self.columns, "string?"))

    def output_schema(self, schema: Schema, **side: Schema) -> Schema:
        """Keeps what comes in; the columns that it adds are learnt.

        Raises:
            DataError: a column that is not there or no string.
        """
        require_typed(schema, self.columns, "string", "OneHot")
        return Schema(schema.columns, is_open=True)

    def fit(self, X: pd.DataFrame, y: Any = None, **side: pd.DataFrame) -> Self:
        """Collects the values of each column.

        Raises:
            DataError: a column without values, or new columns whose names are taken.
        """
        require_typed(X, self.columns, "string", "OneHot")
        self.encoders_ = {name: self._encoder(X[[name]]) for name in self.columns}
        # Checked at fit: which columns come out is known only when the categories are.
        require_no_clash([name for names in self._names() for name in names], list(X.columns), "OneHot")
        return self

    def _encoder(self, X: pd.DataFrame) -> OneHotEncoder:
        (name,) = X.columns
        texts = _texts(X, [name])
        # Missing values are no category: left out here, all columns are 0 where a value is missing.
        known = np.array(sorted(X[name].dropna().unique()), dtype=object)
        if not len(known):
            raise DataError(f"OneHot: column {name!r}: expected a value in the training rows, found none")
        encoder = OneHotEncoder(
            categories=[known], handle_unknown="infrequent_if_exist", sparse_output=False,
            max_categories=self.max_categories, min_frequency=self.min_frequency,
        )  # fmt: skip
        try:
            return encoder.fit(texts)
        except ValueError as error:
            raise DataError(f"OneHot: column {name!r}: {error}") from error

    def _names(self) -> list[list[str]]:
        return [[str(new) for new in self.encoders_[name].get_feature_names_out([name])] for name in self.columns]

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Adds the columns."""
        require_typed(X, self.columns, "string", "OneHot")
        parts = [self._ones(X[[name]], names) for name, names in zip(self.columns, self._names(), strict=True)]
        return pd.concat([X, *parts], axis=1)

    def _ones(self, X: pd.DataFrame, names: list[str]) -> pd.DataFrame:
        (name,) = X.columns
        ones = np.zeros((len(X), len(names)))
        is_known = X[name].notna().to_numpy()
        # scikit-learn refuses an array without rows.
        if is_known.any():
            ones[is_known] = self.encoders_[name].transform(_texts(X[is_known], [name]))
        return pd.DataFrame(ones, columns=names, index=X.index)


def _texts(X: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """Returns string columns as scikit-learn takes them: objects, with NaN for a missing value."""
    return X[list(columns)].to_numpy("object", na_value=np.nan)
