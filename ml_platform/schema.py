"""Defines schemas: the columns of a frame, with types, missing values and ranges."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from ml_platform.errors import expected_one_of, first_few

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

# Our names for types, with the pandas dtype that carries each. "any" is a type that nobody declared.
DTYPES = {
    "string": "str",
    "integer": "int64",
    "number": "float64",
    "boolean": "bool",
    "timestamp": "datetime64[us, UTC]",
    "datetime": "datetime64[us]",
    "any": "object",
}
_DECLARATION = re.compile(r"(?P<type>\w+(?:\|\w+)*)(?P<nullable>\?)?(?: (?P<low>[-.\d]+?)\.\.(?P<high>[-\d][-.\d]*))?")


def quoted_name(column: str) -> str:
    """Returns a column's name, quoted for SQL."""
    return '"' + column.replace('"', '""') + '"'


@dataclass(frozen=True)
class Column:
    """One column: its type, whether values may be missing, its range (both ends included)."""

    name: str
    type: str
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None

    @classmethod
    def parse(cls, name: str, declaration: str, *, strict: bool = False) -> Self:
        """Parses the short form: a type (or several, as `datetime|timestamp`), `?` if values may be missing, a range.

        >>> Column.parse("month", "integer 1..12")
        Column(name='month', type='integer', nullable=False, minimum=1.0, maximum=12.0)
        """
        match = _DECLARATION.fullmatch(declaration)
        if match is None or any(kind not in DTYPES for kind in match["type"].split("|")):
            raise ValueError(f"column {name!r}: {declaration!r}: {expected_one_of(declaration, DTYPES)}")
        # pandas keeps integers and booleans with a missing value as floats and objects: the dtype would depend on the
        # rows (docs/decisions/0005). Schemas of stored frames say so all the same, hence `strict`.
        if match["nullable"] and match["type"] in ("integer", "boolean") and strict:
            raise ValueError(f"column {name!r}: {declaration!r} may not be missing; declare number?")
        low, high = match["low"], match["high"]
        limits = (float(low), float(high)) if low else (None, None)
        return cls(name, match["type"], bool(match["nullable"]), *limits)

    @property
    def is_exact(self) -> bool:
        """Whether one dtype alone carries this type."""
        return self.type in DTYPES and self.type != "any"

    def __str__(self) -> str:
        limits = f" {self.minimum:g}..{self.maximum:g}" if self.minimum is not None else ""
        return f"{self.type}{'?' if self.nullable else ''}{limits}"


@dataclass(frozen=True)
class Schema:
    """The columns of a frame; `is_open` says that there may be others, which nobody declared."""

    columns: tuple[Column, ...] = ()
    is_open: bool = False

    @classmethod
    def of(cls, **declarations: str) -> Self:
        """Declares a schema in the short form: `Schema.of(month="integer 1..12")`."""
        return cls(tuple(Column.parse(name, text, strict=True) for name, text in declarations.items()))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads what `to_json` wrote."""
        return cls(tuple(Column.parse(name, text) for name, text in data["columns"]), data["is_open"])

    def to_json(self) -> dict[str, Any]:
        """Returns the schema as plain JSON values; the columns are pairs, in order."""
        return {"columns": [[column.name, str(column)] for column in self.columns], "is_open": self.is_open}

    @property
    def names(self) -> list[str]:
        """The columns' names, in order."""
        return [column.name for column in self.columns]

    def __getitem__(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    def with_columns(self, columns: Iterable[Column]) -> "Schema":
        """Returns the schema with more columns; one of an equal name is replaced where it stands."""
        # A dict keeps the first place of a key that is set again.
        merged = {column.name: column for column in (*self.columns, *columns)}
        return replace(self, columns=tuple(merged.values()))

    def empty_frame(self, like: "pd.DataFrame") -> "pd.DataFrame":
        """Returns a frame without rows; columns without a dtype of their own have that of another frame."""
        import pandas as pd

        def dtype(column: Column) -> Any:
            has_own = column.is_exact or column.name not in like
            return DTYPES[column.type.split("|")[0]] if has_own else like[column.name].dtype

        return pd.DataFrame({column.name: pd.Series([], dtype=dtype(column)) for column in self.columns})

    def missing(self, names: Iterable[str]) -> list[str]:
        """Returns those of some names that a frame of this schema surely lacks."""
        return [] if self.is_open else [name for name in names if name not in self.names]

    def violations(self, frame: "pd.DataFrame", *, is_exact: bool = True) -> list[str]:
        """Returns everything in which a frame departs from this schema: column, what, count, first rows.

        Args:
            is_exact: whether a column's dtype must be the one that we store; else its kind is enough (any width of
                integers, any unit of time).
        """
        import pandera.pandas as pa
        from pandera.errors import SchemaErrors

        found = [f"column {name!r} is missing" for name in self.names if name not in frame]
        # Where one dtype is required pandera compares it; else the kind is compared here, which pandera cannot.
        kinds = [column for column in self.columns if column.name in frame and not (is_exact and column.is_exact)]
        wrong = {column.name: _kind_of(frame[column.name]) for column in kinds}
        wrong = {name: kind for name, kind in wrong.items() if kind not in self[name].type.split("|")}
        found += [
            f"column {name!r}: expected {self[name].type.replace('|', ' or ')}, found {frame[name].dtype}"
            for name in wrong
            if self[name].type != "any"
        ]
        try:
            # lazy=True collects all violations; otherwise pandera stops at the first.
            self._to_pandera(pa, is_exact, set(wrong)).validate(frame, lazy=True)
        except SchemaErrors as errors:
            # Cases of missing columns have no column to be grouped by.
            found += [_describe(name, rows) for name, rows in errors.failure_cases.groupby("column", sort=False)]
        return found

    def _to_pandera(self, pa: Any, is_exact: bool, wrong: set[str]) -> Any:
        """Returns the schema as pandera's; columns of a wrong kind are checked for missing values alone."""

        def declared(column: Column) -> Any:
            has_range = column.minimum is not None and column.name not in wrong
            in_range = [pa.Check.in_range(column.minimum, column.maximum)] if has_range else []
            dtype = DTYPES[column.type] if is_exact and column.is_exact else None
            return pa.Column(dtype, in_range, nullable=column.nullable, name=column.name)

        return pa.DataFrameSchema({column.name: declared(column) for column in self.columns})


def _describe(column: object, rows: "pd.DataFrame") -> str:
    """Returns pandera's failure cases of one column as a sentence."""
    parts = []
    for check, cases in rows.groupby("check", sort=False):
        # NaN stands for failures of the whole column, such as a wrong dtype.
        places = [int(place) for place in cases["index"].dropna()]
        where = f" in {len(places):,} rows (first: {first_few(places)})" if places else ""
        values = first_few(list(dict.fromkeys(map(str, cases["failure_case"]))), 3)
        parts.append(f"{check}, found {values}{where}")
    return f"column {column!r}: " + "; ".join(parts)


def _kind_of(series: "pd.Series") -> str:
    """Returns which of our types a column in memory has, whatever its width or unit."""
    from pandas.api import types

    # Before the table of tests: pandas takes times with a zone for no plain dtype.
    if types.is_datetime64_any_dtype(series.dtype):
        return "datetime" if getattr(series.dtype, "tz", None) is None else "timestamp"
    tests = {
        # In this order: is_string_dtype is true of many object columns, so it comes last.
        "boolean": types.is_bool_dtype,
        "integer": types.is_integer_dtype,
        "number": types.is_float_dtype,
        "string": types.is_string_dtype,
    }
    return next((name for name, test in tests.items() if test(series)), "any")


def frame_schema(frame: "pd.DataFrame") -> Schema:
    """Returns the schema of a frame in memory."""
    return Schema(tuple(Column(str(name), _kind_of(frame[name]), nullable=True) for name in frame))


def schema_of(table: "pa.Table") -> Schema:
    """Returns the schema of an Arrow table."""
    import pyarrow as pa

    def name_of(kind: Any) -> str:
        if pa.types.is_timestamp(kind):
            return "timestamp" if kind.tz else "datetime"
        tests = {
            "boolean": pa.types.is_boolean,
            "integer": pa.types.is_integer,
            "number": pa.types.is_floating,
        }
        is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        return next((name for name, test in tests.items() if test(kind)), "string" if is_text else "any")

    return Schema(tuple(Column(field.name, name_of(field.type), nullable=True) for field in table.schema))
