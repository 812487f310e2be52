"""Defines `Aggregate`: one row a group, with SQL aggregates such as counts and means."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa

from ml_platform.contract.transformer import DataTransformer
from ml_platform.errors import DataError, require_columns
from ml_platform.schema import Schema, quoted_name
from ml_platform.transformers.expressions import columns_read
from ml_platform.transformers.sql import SQL


class Aggregate(DataTransformer):
    """Gives one row for each combination of some columns' values, with what SQL aggregates say of its rows.

    It runs in DuckDB, out of core over files. Rows are put in order before they are added up, so that their order
    changes no answer, not even a last bit. Types are as for `SQL`: whole numbers are integer, all others number.

    Args:
        by: the columns whose values are kept: the key of the result, in whose order its rows come.
        columns: name of a new column to SQL aggregate: `count(*)`, `avg(delay)`, `count(*) FILTER (delay > 15)`.
        as_of: which of `by` says when a row was known, where that is to be proved.
        memory_limit: what DuckDB may hold before it spills to disk.

    Examples:
        >>> flights = pd.DataFrame({"dest": ["ORD", "BOS", "ORD"], "delay": [5.0, 2.0, 10.0]})
        >>> Aggregate(["dest"], {"flights": "count(*)", "mean_delay": "avg(delay)"}).transform(flights)
          dest  flights  mean_delay
        0  BOS        1         2.0
        1  ORD        2         7.5
    """

    rows = "aggregate"
    depends_on_threads = False
    as_of: str | None = None

    def __init__(
        self, by: Sequence[str], columns: Mapping[str, str], as_of: str | None = None, memory_limit: str = "1GB"
    ):
        self.by = by
        self.columns = columns
        self.as_of = as_of
        self.memory_limit = memory_limit

    @property
    def key(self) -> Sequence[str]:
        """The columns that identify a row of the result."""
        return self.by

    @property
    def input_schema(self) -> Schema:
        """Needs the key, and the columns that stand in the aggregates."""
        return Schema.of(**dict.fromkeys(self._names(), "any?"))

    def output_schema(self, schema: Schema, **side: Schema) -> Schema:
        """Returns the key and the aggregates.

        Raises:
            DataError: no key, no aggregate, or a column that is not there or cannot be added up so.
        """
        if not self.by or isinstance(self.by, str):
            raise DataError(f"Aggregate: by is {self.by!r}; expected a list of one column or more")
        clash = [name for name in self.columns if name in self.by]
        if clash:
            raise DataError(f"Aggregate: {clash[0]!r} stands in by and in columns; give the aggregate another name")
        if not schema.is_open:
            require_columns(schema.names, self._names(), "Aggregate")
        # A type that nobody declared binds as a number, and an aggregate of text would be refused wrongly.
        known = all(column.is_exact for column in schema.columns if column.name in self._names())
        try:
            return self._sql().output_schema(schema if known else Schema(is_open=True))
        except DataError as error:
            raise DataError(f"Aggregate: {error}") from error

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Aggregates rows in memory."""
        require_columns(X.columns, self._names(), "Aggregate")
        return self._sql().transform(X[self._names()])

    @contextmanager
    def transform_files(self, paths: Sequence[Path]) -> Iterator[pa.RecordBatchReader]:
        """Aggregates rows of Parquet files, a batch at a time."""
        with self._sql().transform_files(paths) as reader:
            yield reader

    def _names(self) -> list[str]:
        read = [columns_read(text, f"Aggregate: column {name!r}") for name, text in self.columns.items()]
        return list(dict.fromkeys([*self.by, *(name for names in read for name in names)]))

    def _sql(self) -> SQL:
        by, names = (", ".join(map(quoted_name, part)) for part in (self.by, self._names()))
        # Newlines around the expression, so that a comment (--) in it cannot take the rest of the query along.
        added = "".join(f", (\n{text}\n) AS {quoted_name(name)}" for name, text in self.columns.items())
        # Sums of floats depend on their order in the last bits. ORDER BY ALL makes the order one of values, not of
        # files.
        ordered = f"SELECT {names} FROM counted ORDER BY ALL"  # noqa: S608  (names are quoted)
        query = f"SELECT {by}{added} FROM ({ordered}) GROUP BY {by}"  # noqa: S608  (expressions were parsed)
        return SQL(query, self.by, self.as_of, self.memory_limit)
