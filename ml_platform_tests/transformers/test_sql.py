from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_platform.errors import DataError
from ml_platform.schema import Schema
from ml_platform.transformers import SQL
from ml_platform_tests.conftest import run_python

FRAME = pd.DataFrame({"k": [3, 1, 2], "v": [0.1, 0.2, np.nan], "n": ["a", None, "c"]})


def test_rows_come_sorted_by_the_key() -> None:
    assert SQL("SELECT k FROM t", key=["k"]).transform(FRAME)["k"].tolist() == [1, 2, 3]


def test_a_key_that_stands_twice_is_refused_with_its_values() -> None:
    with pytest.raises(DataError, match=r"key \(one\) does not identify a row of the result: \('1',\) 3 times"):
        SQL("SELECT 1 AS one, k FROM t", key=["one"]).transform(FRAME)


def test_a_whole_number_that_may_be_missing_is_refused_by_column() -> None:
    with pytest.raises(DataError, match=r"values are missing in 'm' \(1 rows\): write CAST\(\.\.\. AS DOUBLE\)"):
        SQL("SELECT k, CASE WHEN k > 1 THEN 1 END AS m FROM t", key=["k"]).transform(FRAME)


def test_types_depend_on_the_query_alone() -> None:
    query = "SELECT k, sum(k) AS s, CAST(1.5 AS DECIMAL(3,1)) AS d, make_date(2013, 1, 1) AS day, k > 1 AS b FROM t GROUP BY k"
    result = SQL(query, key=["k"]).transform(FRAME)
    assert [str(kind) for kind in result.dtypes] == ["int64", "int64", "float64", "datetime64[us]", "bool"]


def test_a_type_that_frames_do_not_have_is_refused_by_column() -> None:
    with pytest.raises(DataError, match=r"column 'l' has the SQL type INTEGER\[\]; cast it"):
        SQL("SELECT k, [1] AS l FROM t", key=["k"]).transform(FRAME)


def test_other_inputs_are_tables_by_their_names() -> None:
    other = pd.DataFrame({"k": [1, 2, 3], "w": [10, 20, 30]})
    result = SQL("SELECT t.k, o.w FROM t JOIN o ON o.k = t.k", key=["k"]).transform(FRAME, o=other)
    assert result["w"].tolist() == [10, 20, 30]


def test_files_and_frames_give_equal_answers(tmp_path: Path) -> None:
    step = SQL("SELECT k, v * 2 AS w, n FROM t", key=["k"])
    pq.write_table(pa.Table.from_pandas(FRAME), tmp_path / "it's.parquet")
    with step.transform_files([tmp_path / "it's.parquet"]) as reader:
        from_files = reader.read_all().to_pandas()
    pd.testing.assert_frame_equal(from_files, step.transform(FRAME))


@pytest.mark.full
def test_a_result_larger_than_the_memory_limit_spills(tmp_path: Path) -> None:
    """Four million rows, 190 MB as a frame, sorted under a limit of 60 MB; the process stays far below the data."""
    rows = 4_000_000
    keys = np.random.default_rng(0).permutation(rows)
    table = {"k": keys, **{f"v{i}": keys * 1.5 + i for i in range(5)}}
    pq.write_table(pa.table(table), tmp_path / "big.parquet")
    del table
    code = f"""
import resource
from pathlib import Path
from ml_platform.transformers import SQL
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
last, rows = -1, 0
with SQL("SELECT * FROM t", key=["k"], memory_limit="60MB").transform_files([Path({str(tmp_path / "big.parquet")!r})]) as reader:
    for batch in reader:
        first = batch.column(0)[0].as_py()
        assert first == last + 1
        last, rows = batch.column(0)[-1].as_py(), rows + batch.num_rows
print(rows, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    counted, megabytes = map(int, run_python(code).split())
    assert counted == rows
    assert megabytes < 150


@pytest.mark.full
def test_the_machines_time_zone_changes_nothing() -> None:
    code = """
import pandas as pd
from ml_platform.transformers import SQL
frame = pd.DataFrame({"t0": pd.to_datetime(["2013-01-01T05:00:00Z"])})
print(SQL("SELECT *, CAST(t0 AS DATE) AS day, hour(t0) AS h FROM t", key=["t0"]).transform(frame).to_json(), SQL("SELECT * FROM t", key=["t0"]).transform(frame).dtypes)
"""
    assert run_python(code, TZ="America/New_York") == run_python(code, TZ="UTC")


@pytest.mark.parametrize(
    ("call", "named"),
    [
        ("now()", "now"),
        ("current_date", "current_date"),
        ("current_timestamp", "get_current_timestamp"),
        ("today()", "today"),
        ("random()", "random"),
        ("uuid()", "uuid"),
        ("current_setting('TimeZone')", "current_setting"),
    ],
)
def test_a_query_that_answers_otherwise_another_day_is_refused(call: str, named: str) -> None:
    step = SQL(f"SELECT a, {call} AS b FROM t WHERE a IN (SELECT 1)", ["a"])
    with pytest.raises(DataError, match=rf"the query calls {named}\(\)"):
        step.output_schema(Schema.of(a="integer"))
    SQL("SELECT a, abs(a) AS now FROM t", ["a"]).output_schema(Schema.of(a="integer"))
