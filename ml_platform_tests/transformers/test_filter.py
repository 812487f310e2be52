import pandas as pd
import pytest

from ml_platform.errors import DataError
from ml_platform.schema import Schema
from ml_platform.transformers import Filter

SCHEMA = Schema.of(delay="number?", dest="string?")


def test_rows_are_kept_in_order_with_index_values_and_types_as_they_were() -> None:
    frame = pd.DataFrame(
        {
            "delay": pd.array([3, None, 1, 2], dtype="Int8"),
            "kind": pd.Categorical(["b", "a", "b", "b"]),
            "tags": [["x"], ["y"], [], ["z"]],
        },
        index=[7, 7, 5, 1],
    )
    expected = frame.iloc[[0, 3]]
    pd.testing.assert_frame_equal(Filter("delay > 1 AND kind = 'b'").transform(frame), expected)


def test_what_is_neither_true_nor_false_is_left_out() -> None:
    frame = pd.DataFrame({"delay": [None, 1.0], "dest": ["A", None]})
    assert len(Filter("delay <> 2 OR dest = 'B'").transform(frame)) == 1
    assert len(Filter("NOT delay = 2").transform(frame)) == 1


def test_columns_stay_as_they_are() -> None:
    assert Filter("delay > 1").output_schema(SCHEMA) == SCHEMA
    assert Filter("delay > 1").input_schema.names == ["delay"]


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("dely > 15", "no column 'dely'; did you mean 'delay'"),
        ("Delay > 15", "no column 'Delay'; did you mean 'delay'"),
        ("delay > now()", r"calls now\(\), whose answer another day is another one"),
        ("delay > 1 AND current_date > '2013-01-01'", r"calls current_date\(\)"),
        ("delay + dest", "the query fails"),
        ("sum(delay) > 1", "WHERE clause cannot contain aggregates"),
        ("delay > (SELECT avg(delay) FROM filtered)", "has a SELECT of its own"),
        ("delay >", "expected a SQL expression"),
    ],
)
def test_what_is_no_condition_on_the_row_is_refused(where: str, why: str) -> None:
    with pytest.raises(DataError, match=f"Filter.*{why}"):
        Filter(where).output_schema(SCHEMA)


def test_a_frame_without_the_column_is_refused() -> None:
    with pytest.raises(DataError, match="Filter: no column 'delay'"):
        Filter("delay > 1").transform(pd.DataFrame({"dest": ["A"]}))
