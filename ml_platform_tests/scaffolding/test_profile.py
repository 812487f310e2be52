import gzip
from pathlib import Path

import pytest

from ml_platform.errors import DataError
from ml_platform.scaffolding.profile import profile_table

ROWS = """id,zip,score,share,seen,at,when,word,none,big
1,00123,1,0.5,true,2025-01-31,2025-01-31T05:00:00Z,a,,123456789012345678901
2,10000,,1,false,2025-02-01 05:15:00,2025-02-01T05:00:00+01:00,NA,,2
"""


def written(folder: Path, text: str, name: str = "rows.csv") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz"])
def test_each_column_gets_the_narrowest_type_of_all_its_values(tmp_path: Path, name: str) -> None:
    table = profile_table(written(tmp_path, ROWS, name))
    assert {column.name: column.declaration for column in table.columns.values()} == {
        "id": "integer",
        "zip": "string",  # a code that begins with 0
        "score": "number?",  # integers of which one is missing
        "share": "number",
        "seen": "boolean",
        "at": "datetime",
        "when": "timestamp",
        "word": "string?",
        "none": "string?",
        "big": "string",  # more digits than a number keeps
    }
    assert table.rows == 2
    assert table.columns["word"].values == {"a": 1}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\ufeffa,b\n1,2\n", "byte order mark; save it as UTF-8 without one"),
        ("a;b\n1;2\n", r"one column alone \('a;b'\); expected columns between commas"),
        ("a,a\n1,2\n", "a stands twice in the header"),
        ("a,\n1,2\n", "column 2 has no name in the header"),
        ("a,b\n", "no rows below the header"),
        ("a,b\n1,2,3\n", "1 rows do not have 2 columns: line 2 has 3"),
        ("a,b\n1,2", "truncated: line 2 has no end; if it is whole, end it with a newline"),
        ("", "the file is empty"),
        ("a,__row\n1,2\n", "a column is called '__row', which is taken"),
    ],
)
def test_what_is_no_table_is_refused_with_what_to_do(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        profile_table(written(tmp_path, text))


def test_a_header_is_read_as_csv_is(tmp_path: Path) -> None:
    table = profile_table(written(tmp_path, '"a ""b""","c,d",n\n1,2,nan\n'))
    assert [(one.name, one.type) for one in table.columns.values()] == [
        ('a "b"', "integer"), ("c,d", "integer"), ("n", "string"),
    ]  # fmt: skip


def test_another_format_and_no_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows.parquet: expected a CSV file \(.csv, .csv.gz, .csv.zip\)"):
        profile_table(written(tmp_path, "", "rows.parquet"))
    with pytest.raises(DataError, match=r"nothing.csv: no such file"):
        profile_table(tmp_path / "nothing.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match=r"folder.csv: cannot be read: Is a directory"):
        profile_table(tmp_path / "folder.csv")
