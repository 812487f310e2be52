"""Defines `SQL`: a step that runs one SELECT in DuckDB, over frames in memory or Parquet files."""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa

from ml_platform.contract.transformer import DataTransformer
from ml_platform.errors import DataError, first_few
from ml_platform.schema import Column, Schema, quoted_name

BATCH_ROWS = 65_536
_MOODS = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability <> 'CONSISTENT'"
_WRITTEN_AS_COLUMNS = {
    "current_date": "current_date", "current_time": "get_current_time", "localtime": "get_current_time",
    "current_timestamp": "get_current_timestamp", "localtimestamp": "get_current_timestamp",
}  # fmt: skip
_SQL_TYPES = {
    "string": "VARCHAR",
    "integer": "BIGINT",
    "number": "DOUBLE",
    "boolean": "BOOLEAN",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    "datetime": "TIMESTAMP",
}


class SQL(DataTransformer):
    """Runs one SELECT in DuckDB, out of core; its tables are the step's inputs, by name.

    The rows come sorted by `key`, whose values must be unique, and are computed on one thread: equal inputs give
    equal bytes. Column types depend on the query alone: whole numbers are integer, all others number, and one that
    may be missing must be a number (`CAST(... AS DOUBLE)`).

    Args:
        query: a SELECT, without ORDER BY. The one table that is not another input is the first input.
        key: the columns that identify a row of the result.
        as_of: the column that says when a row was known, in the first input and in others that change with time; a
            row of the result then depends on nothing newer. The battery proves it; it changes nothing else.
        memory_limit: what DuckDB may hold before it spills to disk.

    Examples:
        >>> frame = pd.DataFrame({"flight": [2, 1], "minutes": [30.0, 5.0]})
        >>> SQL("SELECT flight, minutes > 15 AS late FROM flights", key=["flight"]).transform(frame)
           flight   late
        0       1  False
        1       2   True
    """

    rows = "aggregate"
    depends_on_threads = False
    as_of: str | None = None

    def __init__(self, query: str, key: Sequence[str], as_of: str | None = None, memory_limit: str = "1GB"):
        self.query = query
        self.key = key
        self.as_of = as_of
        self.memory_limit = memory_limit

    def output_schema(self, schema: Schema, **side: Schema) -> Schema:
        """Binds the query to empty tables.

        Raises:
            DataError: not SQL, or a column or table that is not there.
        """
        with self._connect() as connection:
            tables = self._named(connection, schema, side)
            self._refuse_moods(connection)
            if any(table.is_open for table in tables.values()):
                return Schema(is_open=True)
            for name, table in tables.items():
                columns = ", ".join(f"{quoted_name(c.name)} {_SQL_TYPES.get(c.type, 'DOUBLE')}" for c in table.columns)
                connection.execute(f"CREATE TEMP TABLE {quoted_name(name)} ({columns})")
            described = self._run(connection, f"DESCRIBE {self._select()}").fetchall()
        result = Schema(tuple(Column(row[0], _type_name(row[0], row[1]), nullable=True) for row in described))
        missing = result.missing(self.key)
        if missing:
            raise DataError(f"the query gives no column {', '.join(missing)}, which stand in 'key'")
        return result

    def transform(self, X: pd.DataFrame, **side: pd.DataFrame) -> pd.DataFrame:
        """Runs the query over frames in memory."""
        with self._connect() as connection:
            for name, given in self._named(connection, X, side).items():
                connection.register(name, pa.Table.from_pandas(given, preserve_index=False))
            batches, result = self._stream(connection)
            frame: pd.DataFrame = pa.Table.from_batches(batches, result).to_pandas()
        return frame

    @contextmanager
    def transform_files(self, paths: Sequence[Path], **side: Sequence[Path]) -> Iterator[pa.RecordBatchReader]:
        """Runs the query over Parquet files, a batch at a time: neither inputs nor result need fit in memory."""
        with self._connect() as connection:
            for name, files in self._named(connection, paths, side).items():
                listed = ", ".join(f"'{str(file).replace(chr(39), chr(39) * 2)}'" for file in files)
                connection.execute(f"CREATE TEMP VIEW {quoted_name(name)} AS SELECT * FROM read_parquet([{listed}])")
            batches, schema = self._stream(connection)
            yield pa.RecordBatchReader.from_batches(schema, batches)

    @contextmanager
    def _connect(self) -> Iterator[duckdb.DuckDBPyConnection]:
        # By process: DuckDB has threads, which do not survive a fork, and a child that used the parent's database would
        # hang.
        database, _ = _database(os.getpid(), self.memory_limit)
        # A cursor is a connection of its own to the same database: temporary tables go with it.
        with database.cursor() as connection:
            connection.execute("SET enable_progress_bar = false")  # it would print
            connection.execute("SET TimeZone = 'UTC'")  # else the machine's, which answers would depend on
            yield connection

    def _select(self) -> str:
        return self.query.strip().rstrip(";")

    def _named(self, connection: Any, first: Any, side: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the inputs by the names that the query calls them."""
        try:
            # DuckDB's own parser, so that names in subqueries and CTEs count as it counts them.
            tables = set(connection.get_table_names(self._select()))
        except duckdb.Error as error:
            raise DataError(f"the query is not SQL: {error}") from error
        others = sorted(tables - set(side))
        if len(others) != 1:
            raise DataError(
                f"the query reads {', '.join(sorted(tables)) or 'no table'}; expected the first input and no other "
                f"tables than {', '.join(sorted(side)) or '(there are no other inputs)'}"
            )
        return {others[0]: first, **side}

    def _refuse_moods(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Refuses functions that answer otherwise another time: clocks, chance, settings."""
        moods = {row[0] for row in connection.execute(_MOODS).fetchall()}
        parsed = connection.execute("SELECT json_serialize_sql(?)", [self._select()]).fetchall()[0][0]
        found = sorted(_functions_in(json.loads(parsed)) & moods)
        if found:
            raise DataError(
                f"the query calls {', '.join(f'{name}()' for name in found)}, whose answer another day is another one; "
                "take it from the data, or write the value"
            )

    def _run(self, connection: duckdb.DuckDBPyConnection, statement: str) -> Any:
        try:
            return connection.execute(statement)
        except duckdb.Error as error:
            raise DataError(f"the query fails: {error}") from error

    def _stream(self, connection: duckdb.DuckDBPyConnection) -> tuple[Iterator[pa.RecordBatch], pa.Schema]:
        """Computes the result once, checks it, and returns it in the key's order."""
        self._run(connection, f"CREATE TEMP TABLE result AS {self._select()}")
        self._check_key(connection)
        described = connection.execute("DESCRIBE result").fetchall()
        types = {row[0]: _type_name(row[0], row[1]) for row in described}
        self._check_missing(connection, types)
        names = {quoted_name(name): _SQL_TYPES[kind] for name, kind in types.items()}
        # Cast to one width for each kind: sum() of BIGINT is HUGEINT, which pandas would read as a float.
        columns = ", ".join(f"CAST({name} AS {kind}) AS {name}" for name, kind in names.items())
        ordered = connection.sql(f"SELECT {columns} FROM result ORDER BY {_quoted(self.key)}")
        reader = ordered.to_arrow_reader(BATCH_ROWS)
        schema = pa.schema([_in_utc(field) for field in reader.schema])
        # A generator over an open cursor: whoever takes the batches must do so before the connection closes.
        return (batch.cast(schema) for batch in reader), schema

    def _check_key(self, connection: duckdb.DuckDBPyConnection) -> None:
        key = _quoted(self.key)
        statement = f"SELECT {key}, count(*) FROM result GROUP BY {key} HAVING count(*) > 1 ORDER BY {key} LIMIT 5"
        twice = self._run(connection, statement).fetchall()
        if twice:
            found = first_few([f"{tuple(map(str, row[:-1]))} {row[-1]} times" for row in twice])
            raise DataError(f"key ({', '.join(self.key)}) does not identify a row of the result: {found}")

    def _check_missing(self, connection: duckdb.DuckDBPyConnection, types: Mapping[str, str]) -> None:
        """Refuses missing integers and booleans: pandas would make them numbers in some partitions only."""
        strict = [name for name, kind in types.items() if kind in ("integer", "boolean")]
        if not strict:
            return
        counts = ", ".join(f"count(*) - count({quoted_name(name)})" for name in strict)
        row = connection.execute(f"SELECT {counts} FROM result").fetchall()[0]
        found = [f"{name!r} ({count:,} rows)" for name, count in zip(strict, row, strict=True) if count]
        if found:
            raise DataError(f"values are missing in {first_few(found)}: write CAST(... AS DOUBLE) in the query")


@lru_cache(maxsize=4)
def _database(process: int, memory_limit: str) -> tuple[duckdb.DuckDBPyConnection, tempfile.TemporaryDirectory[str]]:
    """Opens the process's database in memory and the folder that it spills to.

    It stays empty: tables are temporary, and so the matter of one cursor.
    """
    spill = tempfile.TemporaryDirectory(prefix="ml_platform-duckdb-")
    settings: dict[str, str | bool | int | float | list[str]] = {
        # With more, rows of equal key values and sums of floats come in an order that differs from run to run.
        "threads": 1,
        "memory_limit": memory_limit,
        "temp_directory": spill.name,
    }
    return duckdb.connect(config=settings), spill


def _functions_in(node: Any) -> set[str]:
    """Returns the functions that a parsed query calls; some are written as a column is, such as current_date."""
    if isinstance(node, list):
        return {name for item in node for name in _functions_in(item)}
    if not isinstance(node, dict):
        return set()
    own = {str(node["function_name"]).lower()} if "function_name" in node else set()
    if node.get("class") == "COLUMN_REF" and len(node.get("column_names", ())) == 1:
        own |= {_WRITTEN_AS_COLUMNS.get(str(node["column_names"][0]).lower(), "")}
    return own | {name for item in node.values() for name in _functions_in(item)}


def _in_utc(field: pa.Field) -> pa.Field:
    """Returns a field with the time zone UTC, where DuckDB names the machine's."""
    is_zoned = pa.types.is_timestamp(field.type) and field.type.tz is not None
    return field.with_type(pa.timestamp("us", tz="UTC")) if is_zoned else field


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(map(quoted_name, names))


def _type_name(column: str, sql_type: str) -> str:
    """Returns which of our types carries a SQL type."""
    base = sql_type.split("(", maxsplit=1)[0]
    known = {
        "VARCHAR": "string", "BOOLEAN": "boolean", "DATE": "datetime", "TIMESTAMP": "datetime",
        "TIMESTAMP WITH TIME ZONE": "timestamp", "FLOAT": "number", "DOUBLE": "number", "DECIMAL": "number",
    }  # fmt: skip
    if base.endswith("INT") or base == "INTEGER":
        return "integer"
    if base not in known:
        raise DataError(f"column {column!r} has the SQL type {sql_type}; cast it to one of: {', '.join(known)}, BIGINT")
    return known[base]
