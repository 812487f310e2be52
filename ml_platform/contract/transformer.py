"""Defines `DataTransformer`, the base class of steps, with what a step declares beyond scikit-learn."""

from datetime import timedelta
from typing import Any, ClassVar, Literal, Self

import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

from ml_platform.schema import Schema


class DataTransformer(TransformerMixin, BaseEstimator):
    """A transformer of frames that declares what the platform must know of it.

    A subclass gives `transform(X)`, or `transform(X, **side)` if it takes more than one input, and states what differs
    from the defaults here. `check_transformer` proves what is stated.

    Attributes:
        learns: whether `fit` looks at data; what it learns is kept, so that `transform` needs no training rows.
        rows: what happens to rows. `preserve`: one row out for each row in, in order; `filter`: some rows are left
            out, the others are as they were; `aggregate`: the result has rows of its own, identified by `self.key`.
        row_wise: whether a row's answer depends on that row alone (and on other inputs). If not, `as_of` and
            `lookback` say which other rows it depends on.
        depends_on_threads: whether its bytes may depend on how many threads compute them; if so, machines with
            other numbers of cores do not share what it makes.
    """

    learns: ClassVar[bool] = False
    rows: ClassVar[Literal["preserve", "filter", "aggregate"]] = "preserve"
    row_wise: ClassVar[bool] = True
    depends_on_threads: ClassVar[bool] = True

    @property
    def as_of(self) -> str | None:
        """The column that says when a row was known, in the first input and in others that change with time.

        A row's answer depends on no row of a later time; other inputs without this column are taken as known always.
        None: not declared.
        """
        return None

    @property
    def lookback(self) -> timedelta:
        """How far back in time, by `as_of`, a row looks: in other inputs, and in its own if it is not `row_wise`."""
        return timedelta(0)

    @property
    def input_schema(self) -> Schema | None:
        """The columns that the first input must have; it may have more. None: not declared.

        The runtimes refuse a frame that does not fit before any work.
        """
        return None

    @property
    def side_schema(self) -> Schema | None:
        """The columns that each other input must have. None: not declared."""
        return None

    def output_schema(self, schema: Schema, **side: Schema) -> Schema:
        """Returns the columns that come out for those that come in.

        Raises:
            DataError: a column that is missing or of the wrong type.
        """
        return Schema(is_open=True)

    def fit(self, X: pd.DataFrame, y: Any = None, **side: pd.DataFrame) -> Self:
        """Learns nothing by default."""
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # By this tag scikit-learn's own meta-estimators know, too, that an unfitted one may transform.
        tags.requires_fit = self.learns
        return tags
