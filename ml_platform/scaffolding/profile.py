"""Profiles a CSV file: the type, missing values and distinct values of each column."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_platform.errors import DataError, first_few
from ml_platform.schema import Schema
from ml_platform.sources import TableSource
from ml_platform.sources.tables import ROW, are_of_type, header_of, typed_as

if TYPE_CHECKING:
    import pyarrow as pa

_ENDINGS = (".csv", ".csv.gz", ".csv.zip")
_TYPES = ("boolean", "integer", "number", "timestamp", "datetime")
_TYPES_WITHOUT_MISSING = ("boolean", "integer")


@dataclass(frozen=True)
class ColumnProfile:
    """What a column holds.

    Attributes:
        type: one of the schema's words.
        missing: in how many rows there is no value.
        distinct: how many different values there are.
        values: each different value, as text, to how many rows have it.
    """

    name: str
    type: str
    missing: int
    values: Mapping[str, int]

    @property
    def distinct(self) -> int:
        """How many different values there are."""
        return len(self.values)

    @property
    def declaration(self) -> str:
        """The column's type as a schema declares it."""
        return f"{self.type}{'?' if self.missing else ''}"


@dataclass(frozen=True)
class TableProfile:
    """What a file holds.

    Attributes:
        text: every column as text.
    """

    path: Path
    columns: Mapping[str, ColumnProfile]
    rows: int
    text: "pa.Table"

    def are_unique(self, *names: str) -> bool:
        """Returns whether no two rows have the same values in some columns; 1.0 and 1.00 are the same."""
        import pyarrow as pa

        typed = {name: typed_as(self.text[name], self.columns[name].type) for name in names}
        return int(pa.table(typed).group_by(list(names)).aggregate([]).num_rows) == self.rows

    def of_type(self, *types: str) -> list[ColumnProfile]:
        """Returns the columns of some types."""
        return [column for column in self.columns.values() if column.type in types]


def profile_table(path: Path) -> TableProfile:
    """Returns the profile of a file, with the narrowest type for each column.

    Raises:
        DataError: no CSV with a header and rows, as the platform's tables read it.
    """
    if not path.name.endswith(_ENDINGS):
        raise DataError(f"{path}: expected a CSV file ({', '.join(_ENDINGS)}); write the table as one")
    header = header_of(path)
    _require_header(path, header)
    table = TableSource(
        name=path.stem, package="", file=path.name, folder=path.parent, grain="", key=(),
        schema=Schema.of(**dict.fromkeys(header, "string?")),
    )  # fmt: skip
    text = table.read_text()
    if text.num_rows == 0:
        raise DataError(f"{path}: no rows below the header")
    columns = {name: _profile(name, text[name]) for name in header}
    return TableProfile(path, columns, text.num_rows, text)


def _require_header(path: Path, header: Sequence[str]) -> None:
    # The mark would become a part of the first column's name, which then looks right and is not found.
    if header[0].startswith("\ufeff"):
        raise DataError(f"{path}: begins with a byte order mark; save it as UTF-8 without one")
    if ROW in header:
        raise DataError(f"{path}: a column is called {ROW!r}, which is taken; rename it")
    if len(header) < 2:
        raise DataError(f"{path}: one column alone ({header[0]!r}); expected columns between commas")
    empty = [place for place, name in enumerate(header, 1) if not name.strip()]
    if empty:
        raise DataError(f"{path}: column {first_few(empty)} has no name in the header")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(f"{path}: {first_few(twice)} stands twice in the header; rename one")


def _profile(name: str, column: Any) -> ColumnProfile:
    """Counts a column's values; a type is that of every different value, so each is looked at once."""
    # A column of a million rows has few different values more often than not.
    counts = {one["values"]: one["counts"] for one in column.value_counts().to_pylist()}
    missing = counts.pop(None, 0)
    return ColumnProfile(name, _type_of(counts, missing), missing, counts)


def _type_of(values: Mapping[str, int], missing: int) -> str:
    if not values or any(_is_code(value) for value in values):
        return "string"
    for kind in _TYPES:
        if missing and kind in _TYPES_WITHOUT_MISSING:
            continue  # the schema has no such columns with missing values
        if kind == "boolean" and not {value.lower() for value in values} <= {"true", "false"}:
            continue  # 0 and 1 are numbers
        if are_of_type(list(values), kind):
            return kind
    return "string"


def _is_code(value: str) -> bool:
    """Returns whether a text only looks like a number: `00123`, `nan`, or more digits than a number keeps."""
    digits = value.lstrip("+-")
    return digits.lower() in ("nan", "inf", "infinity") or (
        # int64 holds 18 digits whatever they are; leading zeros are those of codes and get lost in a number.
        digits.isdigit() and (len(digits) > 18 or (len(digits) > 1 and digits[0] == "0"))
    )
