"""Defines `TextCounts`: how often common words stand in a text (bag of words)."""

from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import CountVectorizer

from ml_platform.contract.transformer import DataTransformer
from ml_platform.errors import DataError
from ml_platform.schema import Schema
from ml_platform.transformers.columns import require_no_clash, require_typed


class TextCounts(DataTransformer):
    """Adds, for each common word of the training rows, how often the row's text has it.

    Words are what scikit-learn's `CountVectorizer` takes for words: small letters, two or more. A missing text is
    an empty one.

    Args:
        column: a string column.
        max_features: of how many words at most; the most frequent ones, of equal ones those that come first in the
            alphabet.
        min_df: in how many training rows a word must be: a number of rows, or a share of them.
        prefix: what the new columns' names begin with, by default the column's name: word `w` of column `c` gives the
            integer column `c_w`.

    Examples:
        >>> step = TextCounts("note").fit(pd.DataFrame({"note": ["Late crew", "late again, late", None]}))
        >>> step.transform(pd.DataFrame({"note": ["Late, late", "no crew", None]}))
                 note  note_again  note_crew  note_late
        0  Late, late           0          0          2
        1     no crew           0          1          0
        2         NaN           0          0          0
    """

    learns = True
    depends_on_threads = False

    def __init__(self, column: str, max_features: int = 100, min_df: int | float = 1, prefix: str | None = None):
        self.column = column
        self.max_features = max_features
        self.min_df = min_df
        self.prefix = prefix

    @property
    def input_schema(self) -> Schema:
        """Needs the text."""
        return Schema.of(**{self.column: "string?"})

    def output_schema(self, schema: Schema, **side: Schema) -> Schema:
        """Keeps what comes in; the columns that it adds are learnt.

        Raises:
            DataError: no room for words, or a column that is not there or no string.
        """
        if self.max_features < 1:
            raise DataError(f"TextCounts: max_features is {self.max_features!r}; expected 1 or more")
        require_typed(schema, [self.column], "string", "TextCounts")
        return Schema(schema.columns, is_open=True)

    def fit(self, X: pd.DataFrame, y: Any = None, **side: pd.DataFrame) -> Self:
        """Counts words.

        Raises:
            DataError: no words, or new columns whose names are taken.
        """
        require_typed(X, [self.column], "string", "TextCounts")
        vectorizer = CountVectorizer(min_df=self.min_df)
        try:
            counts = np.asarray(vectorizer.fit_transform(self._texts(X)).sum(axis=0)).ravel()
        except ValueError as error:
            raise DataError(
                f"TextCounts: column {self.column!r}: expected words in the training rows: {error}"
            ) from error
        # CountVectorizer's own max_features leaves the choice among equally frequent words to the sort of the machine.
        known = sorted(zip(-counts, vectorizer.get_feature_names_out(), strict=True))[: self.max_features]
        self.words_ = sorted(str(word) for _, word in known)
        require_no_clash(self._names(), list(X.columns), "TextCounts")
        return self

    def _texts(self, X: pd.DataFrame) -> list[str]:
        texts: list[str] = X[self.column].astype("str").fillna("").tolist()
        return texts

    def _names(self) -> list[str]:
        prefix = self.column if self.prefix is None else self.prefix
        return [f"{prefix}_{word}" for word in self.words_]

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Adds the counts."""
        require_typed(X, [self.column], "string", "TextCounts")
        counts = CountVectorizer(vocabulary=self.words_).transform(self._texts(X)).toarray().astype("int64")
        return pd.concat([X, pd.DataFrame(counts, columns=self._names(), index=X.index)], axis=1)
