from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from ml_platform.errors import DataError
from ml_platform.schema import Schema
from ml_platform.transformers import Aggregate

STEP = Aggregate(["dest"], {"n": "count(*)", "mean delay": "avg(delay)", "late": "count(*) FILTER (delay > 15)"})
FRAME = pd.DataFrame({"dest": ["ORD", None, "BOS", "ORD"], "delay": [20.0, 1.0, np.nan, 10.0], "more": 1})


def test_there_is_a_row_for_each_combination_in_order_missing_last() -> None:
    expected = pd.DataFrame(
        {"dest": ["BOS", "ORD", None], "n": [1, 2, 1], "mean delay": [np.nan, 15.0, 1.0], "late": [0, 1, 0]}
    )
    pd.testing.assert_frame_equal(STEP.transform(FRAME), expected, check_dtype=False)


def test_types_are_declared() -> None:
    schema = STEP.output_schema(Schema.of(dest="string?", delay="number?", more="integer"))
    assert {column.name: column.type for column in schema.columns} == {
        "dest": "string", "n": "integer", "mean delay": "number", "late": "integer"
    }  # fmt: skip


def test_files_give_what_frames_give_and_a_copy_is_equal(tmp_path: Path) -> None:
    FRAME[:2].to_parquet(tmp_path / "a.parquet")
    FRAME[2:].to_parquet(tmp_path / "b.parquet")
    with clone(STEP).transform_files([tmp_path / "a.parquet", tmp_path / "b.parquet"]) as reader:
        pd.testing.assert_frame_equal(reader.read_all().to_pandas(), STEP.transform(FRAME))


@pytest.mark.parametrize("aggregate", ["sum(v)", "avg(v)", "stddev(v)"])
def test_the_order_of_rows_changes_no_bit(aggregate: str) -> None:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"g": rng.integers(0, 3, 5000), "v": rng.normal(size=5000) * 10.0 ** rng.integers(-8, 9, 5000)})
    step = Aggregate(["g"], {"out": aggregate})
    pd.testing.assert_frame_equal(step.transform(rows), step.transform(rows[::-1]), check_exact=True)


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (Aggregate([], {"n": "count(*)"}), r"by is \[\]; expected a list of one column or more"),
        (Aggregate("dest", {"n": "count(*)"}), "by is 'dest'; expected a list"),
        (Aggregate(["dest"], {"dest": "count(*)"}), "'dest' stands in by and in columns"),
        (Aggregate(["dst"], {"n": "count(*)"}), "no column 'dst'; did you mean 'dest'"),
        (Aggregate(["dest"], {"n": "avg(dely)"}), "no column 'dely'; did you mean 'delay'"),
        (Aggregate(["dest"], {"n": "delay"}), "the query fails: Binder Error"),
        (Aggregate(["dest"], {"n": "count(*) + random()"}), r"calls random\(\)"),
        (Aggregate(["dest"], {"n": "(SELECT 1)"}), "column 'n': .* has a SELECT of its own"),
    ],
)
def test_what_cannot_be_added_up_is_refused(step: Aggregate, why: str) -> None:
    with pytest.raises(DataError, match=f"Aggregate: .*{why}|Aggregate: {why}"):
        step.output_schema(Schema.of(dest="string?", delay="number?"))


def test_a_frame_without_the_column_is_refused() -> None:
    with pytest.raises(DataError, match="Aggregate: no column 'delay'"):
        STEP.transform(FRAME[["dest"]])
