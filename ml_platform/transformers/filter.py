"""Defines `Filter`: keeps the rows for which a SQL condition is true."""

import numpy as np
import pandas as pd

from ml_platform.contract.transformer import DataTransformer
from ml_platform.errors import DataError, require_columns
from ml_platform.schema import Column, Schema
from ml_platform.transformers.expressions import columns_read
from ml_platform.transformers.sql import SQL

_PLACE = "filter's place"


class Filter(DataTransformer):
    """Keeps the rows for which a SQL condition is true; the others are left out.

    Rows that are kept stay in order, with their values and types as they were. A condition that is neither true nor
    false, as a comparison with a missing value, leaves its row out.

    Args:
        where: a condition on the row's columns, as DuckDB writes it; names are spelt as in the frame. Functions that
            answer otherwise another day, such as now(), are refused.

    Examples:
        >>> flights = pd.DataFrame({"dest": ["BOS", "ORD", "BOS"], "delay": [20.0, 30.0, None]})
        >>> Filter("delay > 15 AND dest <> 'ORD'").transform(flights)
          dest  delay
        0  BOS   20.0
    """

    rows = "filter"
    depends_on_threads = False

    def __init__(self, where: str):
        self.where = where

    @property
    def input_schema(self) -> Schema:
        """Needs the columns that stand in the condition."""
        return Schema.of(**dict.fromkeys(self._names(), "any?"))

    def output_schema(self, schema: Schema, **side: Schema) -> Schema:
        """Returns the schema that comes in.

        Raises:
            DataError: no condition, or a column that is not there or cannot be compared so.
        """
        names, query = self._names(), self._query()
        try:
            # First without columns: functions that answer otherwise another day are refused even where the schema is
            # open.
            query.output_schema(Schema(is_open=True))
            if not schema.is_open:
                require_columns(schema.names, names, "condition")
                used = [column for column in schema.columns if column.name in names]
                is_known = all(column.is_exact for column in used)
                query.output_schema(Schema((Column(_PLACE, "integer"), *used), is_open=not is_known))
        except DataError as error:
            raise DataError(f"Filter, where = {self.where!r}: {error}") from error
        return schema

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Keeps rows."""
        names = self._names()
        require_columns(X.columns, names, "Filter")
        # The query returns places and not rows, so that values and types stay as pandas has them, nanoseconds and
        # categories included.
        places = self._query().transform(X[names].assign(**{_PLACE: np.arange(len(X))}))[_PLACE]
        return X.iloc[places.to_numpy()]

    def _names(self) -> list[str]:
        return list(columns_read(self.where, "Filter: where"))

    def _query(self) -> SQL:
        return SQL(f'SELECT "{_PLACE}" FROM filtered WHERE (\n{self.where}\n) IS TRUE', key=[_PLACE])  # noqa: S608  (one expression, which was parsed)
