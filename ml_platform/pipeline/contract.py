"""What does a transformer promise beyond scikit-learn's contract?"""

from datetime import timedelta
from typing import Any, ClassVar, Literal, Self

import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

from ml_platform.schema import Schema


class DataTransformer(TransformerMixin, BaseEstimator):
    """A transformer of frames that declares what the platform must know of it.

    A subclass gives `transform(X)`, or `transform(X, **side)` if it takes more than one input, and states:

    Attributes:
        learns: whether `fit` looks at data.
        rows: what happens to rows: `preserve`, `filter` or `aggregate`.
        depends_on_threads: whether its bytes may depend on how many threads compute them; if so, machines with
            other numbers of cores do not share what it makes.
    """

    learns: ClassVar[bool] = False
    rows: ClassVar[Literal["preserve", "filter", "aggregate"]] = "preserve"
    depends_on_threads: ClassVar[bool] = True

    @property
    def lookback(self) -> timedelta:
        """How far back in its other inputs a row looks."""
        return timedelta(0)

    def output_schema(self, schema: Schema, **side: Schema) -> Schema:
        """Says which columns come out for those that come in.

        Raises:
            DataError: a column that is missing or of the wrong type.
        """
        return Schema(is_open=True)

    def fit(self, X: pd.DataFrame, y: Any = None, **side: pd.DataFrame) -> Self:
        """Learns nothing by default."""
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = self.learns
        return tags
