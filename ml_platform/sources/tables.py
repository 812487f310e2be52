"""Reads CSV files into typed frames, partition by partition, and refuses what breaks the declared schema."""

import csv
import gzip
import hashlib
import importlib.metadata
import importlib.util
import io
import lzma
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ml_platform.artifacts.limits import most_unpacked
from ml_platform.errors import DataError, expected_one_of, first_few
from ml_platform.extras import EXTRAS, missing
from ml_platform.schema import Schema
from ml_platform.sources.partitions import Partitions

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

MISSING = ("NA", "")
_DAMAGED = (  # a NotImplementedError is another compression, a RuntimeError a password
    zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, IndexError, NotImplementedError,
    RuntimeError, UnicodeDecodeError,
)  # fmt: skip
ROW = "__row"  # line in the file; the header is line 1


@dataclass(frozen=True)
class TableSource:
    """One table of outside data: a CSV file (or a zip or gzip of one), inside an installed package or in a folder.

    Attributes:
        key: columns that identify a row; frames come sorted by them.
        grain: what one row is, for people.
        partitions: the spans that the table is cut into, None if it is read whole.
        dated_by: what says which partition a row is in: a column of the type `datetime` or `timestamp` (then it is the
            day in UTC that counts), or those of year, month and day.
        folder: where the file lies, if not in the package.
        has_header: whether the file's first line names its columns; else they are those of the schema, in order.
        numbered: the column of the schema, if any, that is not in the file and numbers its rows from 0.
        rows: about how many rows of the whole table to keep, evenly spaced in each partition; None: all of them.
    """

    name: str
    package: str
    file: str
    schema: Schema
    key: tuple[str, ...]
    grain: str
    partitions: Partitions | None = None
    dated_by: tuple[str, str, str] | str = ("year", "month", "day")
    folder: Path | None = None
    has_header: bool = True
    numbered: str | None = None
    rows: int | None = None

    @property
    def asset(self) -> str:
        """The asset that holds this table."""
        return f"lake/{self.name}"

    @property
    def description(self) -> str:
        """What is read, for people."""
        return (
            f"`{self.file}` of the package {self.package}, typed." if self.folder is None else f"`{self.file}`, typed."
        )

    @property
    def path(self) -> Path:
        """Where the file lies; the package is found, not imported."""
        if self.folder is not None:
            return self.folder / self.file
        # Not imported: packages of data may import pandas, and definitions load without it.
        spec = importlib.util.find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            if self.package in EXTRAS:
                raise missing(self.package)
            raise DataError(f"{self.asset}: package {self.package!r} is not installed: pip install {self.package}")
        return Path(spec.submodule_search_locations[0]) / self.file

    @property
    def _remedy(self) -> str:
        return "; install the package again" if self.folder is None else ""

    def declaration(self) -> dict[str, Any]:
        """Returns what is declared of the file as plain JSON values, without its place and the range of partitions."""
        is_one = isinstance(self.dated_by, str)
        return {
            "asset": self.asset,
            "file": self.file,
            "schema": self.schema.to_json(),
            "key": list(self.key),
            "dated_by": (self.dated_by if is_one else list(self.dated_by)) if self.partitions else None,
            "every": self.partitions.every if self.partitions else None,
            # Only where it differs from the default, so that declarations from before these fields hash as they did.
            **({} if self.has_header else {"has_header": False}),
            **({"numbered": self.numbered} if self.numbered else {}),
            **({"rows": self._rows_kept} if self.rows else {}),
        }

    @property
    def _rows_kept(self) -> int | None:
        """How many rows of each partition are kept."""
        return None if self.rows is None else -(-self.rows // len(self.partitions.keys if self.partitions else [None]))

    @property
    def content_hash(self) -> str:
        """Returns the hash of the file as it is now."""
        try:
            status = self.path.stat()
        except FileNotFoundError as error:
            raise DataError(f"{self.path}: no such file{self._remedy}") from error
        return _hash_of(self.path, status.st_size, status.st_mtime_ns)

    def read(self, partitions: Sequence[str | None]) -> dict[str | None, "pd.DataFrame"]:
        """Reads partitions (`[None]`: the whole table), all of them checked before any is returned.

        Returns:
            A frame per partition, its columns as declared, its rows sorted by the key.

        Raises:
            DataError: file, partition, column and rows of what is wrong.
        """
        text = self.read_text()
        parts: dict[str | None, pa.Table] = {None: text} if self.partitions is None else self._split(text, partitions)
        return {key: self._checked(parts[key], key) for key in partitions}

    def read_text(self) -> "pa.Table":
        """Returns every declared column as text, with the line that each row stands on."""
        import pyarrow as pa

        content = _content_of(self.path, self._remedy)
        self._compare_with_record()
        declared = [name for name in self.schema.names if name != self.numbered]
        header = _header_in(content, self.path)
        if self.has_header and self.numbered in header:
            raise DataError(f"{self.path}: the header has a column {self.numbered!r}; number the rows by another name")
        for name in declared if self.has_header else ():
            if name not in header:
                hint = expected_one_of(name, header)
                raise DataError(f"{self.path}: no column {name!r} in the header (line 1); {hint}")
        table = _parse_csv(content, self.path, header if self.has_header else declared, has_header=self.has_header)
        first = 2 if self.has_header else 1
        if self.numbered:
            # As text, like all columns, so that the one cast that follows serves it too.
            table = table.append_column(self.numbered, pa.array(map(str, range(table.num_rows)), pa.string()))
        return table.select(self.schema.names).append_column(ROW, pa.array(range(first, table.num_rows + first)))

    def _compare_with_record(self) -> None:
        """Refuses a package's file that is not as it was installed: one cut at a line's end still parses."""
        if self.folder is not None:
            return
        try:
            files = importlib.metadata.files(self.package) or []
        except importlib.metadata.PackageNotFoundError:
            return  # not a distribution: nothing was recorded to compare with
        for file in files:
            size = self.path.stat().st_size
            # RECORD lists files relative to site-packages; where a package is laid out otherwise nothing matches, and
            # nothing is compared.
            if str(file) != f"{self.package}/{self.file}":
                continue
            if file.size is None:
                raise DataError(
                    f"{self.path}: {self.package} was installed without a record of sizes, so nobody can tell whether "
                    f"the file is whole; install it again: pip install --force-reinstall --use-pep517 {self.package}"
                )
            if file.size != size:
                raise DataError(
                    f"{self.path}: truncated or changed: {size:,} bytes, the package was installed with "
                    f"{file.size:,}; install {self.package} again"
                )

    def _split(self, text: "pa.Table", keys: Sequence[str | None]) -> dict[str | None, "pa.Table"]:
        """Returns the text of each partition, cut by the date that each row carries."""
        import numpy as np
        import pyarrow as pa

        assert self.partitions is not None
        day = self._days(text)
        self._require_dates(text, np.isnat(day))
        found: dict[str | None, pa.Table] = {}
        for key in keys:
            if key is None or key not in self.partitions.keys:
                raise DataError(f"{self.asset}: no partition {key!r}; {first_few(self.partitions.keys)}")
            start, end = np.datetime64(date.fromisoformat(key)), np.datetime64(self.partitions.end_of(key))
            found[key] = text.filter(pa.array((day >= start) & (day < end)))
        return found

    def _days(self, text: "pa.Table") -> "np.ndarray":
        """Returns the time of each row, NaT where there is none; 30 February is none."""
        import pandas as pd

        if isinstance(self.dated_by, str):
            times: np.ndarray = self._cast(text, self.dated_by, "all rows").to_numpy(zero_copy_only=False)
            return times
        columns = [self._cast(text, name, "all rows") for name in self.dated_by]
        # to_datetime takes columns of exactly these names.
        dates = pd.DataFrame(dict(zip(("year", "month", "day"), columns, strict=True)))
        days: np.ndarray = pd.to_datetime(dates, errors="coerce").to_numpy()
        return days

    def _require_dates(self, text: "pa.Table", is_none: Any) -> None:
        """Refuses rows that are on no day: they would be in no partition, and vanish."""
        rows = [row for row, bad in zip(text[ROW].to_pylist(), is_none, strict=True) if bad]
        if rows:
            names = self.dated_by if isinstance(self.dated_by, str) else ", ".join(self.dated_by)
            raise DataError(f"{self.path}: columns {names}: {len(rows):,} rows are no day (lines {first_few(rows)})")

    def _cast(self, text: "pa.Table", name: str, partition: str | None) -> "pa.Array":
        """Returns one column of text in its declared type, and refuses rows that are not of it, by line."""
        import pyarrow as pa

        declared = self.schema[name].type
        try:
            # Cast first, and look for the bad rows only on failure: a cast takes milliseconds, the search seconds.
            return typed_as(text[name], declared)
        except pa.ArrowInvalid:
            values = text[name].to_pylist()
            bad = {value for value in set(values) if not are_of_type([value], declared)}
            rows = [row for value, row in zip(values, text[ROW].to_pylist(), strict=True) if value in bad]
        raise DataError(
            f"{self.path}: {_where(partition)}column {name!r}: expected {declared}, found "
            f"{first_few(sorted(map(repr, bad)), 3)} in {len(rows):,} rows (lines {first_few(rows)})"
        )

    def _checked(self, text: "pa.Table", partition: str | None) -> "pd.DataFrame":
        """Returns one partition as a typed frame, sorted by the key, and refuses what breaks the schema."""
        import pyarrow as pa

        if text.num_rows == 0:
            raise DataError(f"{self.path}: {_where(partition)}no rows (file has other partitions, or none)")
        columns = {name: self._cast(text, name, partition) for name in self.schema.names}
        frame = pa.table(columns).to_pandas()
        # By line numbers, so that the violations name lines that an editor shows.
        frame.index = text[ROW].to_pandas()
        violations = self.schema.violations(frame)
        twice = frame.index[frame.duplicated(list(self.key), keep=False)]
        if len(twice):
            key = ", ".join(self.key)
            violations.append(f"key ({key}): {len(twice):,} rows share a key (lines {first_few(list(twice))})")
        if violations:
            raise DataError(f"{self.path}: {_where(partition)}" + "; ".join(violations))
        ordered: pd.DataFrame = frame.sort_values(list(self.key), ignore_index=True)
        if self._rows_kept is None or self._rows_kept >= len(ordered):
            return ordered
        # Evenly spaced in the key's order, in whole numbers: equal on every machine.
        places = [position * len(ordered) // self._rows_kept for position in range(self._rows_kept)]
        return ordered.iloc[places].reset_index(drop=True)


# Size and time of change are a part of the key, so a file that changes is hashed again.
@lru_cache(maxsize=256)
def _hash_of(path: Path, _size: int, _modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _where(partition: str | None) -> str:
    return "" if partition is None else f"{partition}: "


def _content_of(path: Path, remedy: str = "") -> bytes:
    """Returns the file's bytes, unpacked if need be, and refuses a file that was cut short."""
    try:
        if path.suffix == ".zip":
            # The first member; what a zip of one CSV holds besides (macOS adds folders) comes after it.
            with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as file:
                content = _unpacked(file, path)
        elif path.suffix == ".gz":
            with gzip.open(path) as file:
                content = _unpacked(file, path)
        else:
            content = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file{remedy}") from error
    except _DAMAGED as error:
        kind = path.suffix[1:]
        raise DataError(f"{path}: truncated or damaged {kind} ({error}){remedy or '; get it again'}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    if not content:
        raise DataError(f"{path}: the file is empty{remedy}")
    # A download that broke off inside of a line leaves a row that still parses, with a shorter last value.
    if not content.endswith(b"\n"):
        line = content.count(b"\n") + 1
        advice = remedy or "; if it is whole, end it with a newline, else get it again"
        raise DataError(f"{path}: truncated: line {line:,} has no end{advice}")
    return content


def header_of(path: Path) -> list[str]:
    """Returns the names in a file's first line.

    Raises:
        DataError: no such file, one that is damaged, or none in UTF-8.
    """
    return _header_in(_content_of(path), path)


def _header_in(content: bytes, path: Path) -> list[str]:
    try:
        return next(csv.reader([content[: content.find(b"\n")].decode().rstrip("\r")]))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV file in UTF-8: line 1: {error}") from error


def _unpacked(file: IO[bytes] | gzip.GzipFile, path: Path) -> bytes:
    """Returns what an archive holds, and refuses to unpack far more than files of its size hold."""
    packed = path.stat().st_size
    # One byte more than allowed is enough to know, and no more memory is taken.
    content = file.read(most_unpacked(packed) + 1)
    if len(content) > most_unpacked(packed):
        raise DataError(
            f"{path}: {packed:,} bytes would unpack to more than {most_unpacked(packed):,}; unpack it first"
        )
    return content


def _parse_csv(content: bytes, path: Path, header: list[str], *, has_header: bool) -> "pa.Table":
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    ragged: list[tuple[int, int]] = []

    def note(row: Any) -> str:
        ragged.append((row.number, row.actual_columns))
        # Skipped here and refused below, all of them together with their lines.
        return "skip"

    # One thread: only then does a ragged row know its number.
    options = arrow_csv.ReadOptions(use_threads=False, column_names=None if has_header else header)
    types = arrow_csv.ConvertOptions(
        # All as text: pyarrow would guess types from the first block, and another block could change the guess.
        column_types=dict.fromkeys(header, pa.string()),
        null_values=MISSING,
        strings_can_be_null=True,
    )
    parsing = arrow_csv.ParseOptions(invalid_row_handler=note)
    try:
        table = arrow_csv.read_csv(io.BytesIO(content), options, parsing, types)
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: not a CSV file in UTF-8: {error}") from error
    if ragged:
        lines = first_few([f"{line} has {count}" for line, count in ragged])
        raise DataError(f"{path}: {len(ragged):,} rows do not have {len(header)} columns: line {lines}")
    return table


def _arrow_type(declared: str) -> "pa.DataType":
    import pyarrow as pa

    return {
        "string": pa.string(),
        "integer": pa.int64(),
        "number": pa.float64(),
        "boolean": pa.bool_(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "datetime": pa.timestamp("us"),
    }[declared]


def typed_as(column: "pa.ChunkedArray", declared: str) -> "pa.Array":
    """Returns a column of text, cast to a declared type."""
    return column.combine_chunks().cast(_arrow_type(declared))


def are_of_type(values: Sequence[str | None], declared: str) -> bool:
    """Returns whether texts are all values of a declared type."""
    import pyarrow as pa

    try:
        pa.array(values, pa.string()).cast(_arrow_type(declared))
    except pa.ArrowInvalid:
        return False
    return True
