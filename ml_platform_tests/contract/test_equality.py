import pandas as pd
import pytest

from ml_platform.contract.equality import first_difference

NAMES = ("one", "other")
FRAME = pd.DataFrame({"a": [1.0, None], "b": ["x", "y"]})


@pytest.mark.parametrize(
    ("other", "column", "row", "told"),
    [
        (FRAME.assign(a=[1.0, 2.0]), "a", 1, "other has np.float64(2.0)"),
        (FRAME.assign(b=["x", "z"]), "b", 1, "one has 'y'"),
        (FRAME.assign(a=[1.0 + 1e-16 * 4, None]), "a", 0, "1 rows differ"),
        (FRAME.assign(c=1), "c", None, "other has ['a', 'b', 'c']"),
        (FRAME[["b", "a"]], "a", None, "one has columns ['a', 'b']"),
        (FRAME.head(1), None, 1, "one has 2 rows"),
        (FRAME.astype({"a": "float32"}), "a", None, "other float32"),
    ],
    ids=["number", "text", "last bit", "more columns", "order of columns", "fewer rows", "type"],
)
def test_the_first_difference_is_named(other: pd.DataFrame, column: str | None, row: int | None, told: str) -> None:
    found = first_difference(FRAME, other, NAMES)
    assert found[:2] == (column, row)
    assert told in found[2]


def test_missing_values_are_equal() -> None:
    assert first_difference(FRAME, FRAME.copy(), NAMES) is None


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "string", "boolean"])
def test_a_missing_value_differs_from_one_that_is_there(dtype: str) -> None:
    value = {"string": "a", "boolean": True}.get(dtype, 7)
    one, other = (pd.DataFrame({"a": pd.array([value, last], dtype=dtype)}) for last in (pd.NA, value))
    assert first_difference(one, other, NAMES)[:2] == ("a", 1)
    assert first_difference(one, one.copy(), NAMES) is None


def test_cells_of_any_kind_are_compared() -> None:
    one = pd.DataFrame({"a": [[1, 2], {"b": 1}, None]})
    assert first_difference(one, one.copy(), NAMES) is None
    assert first_difference(one, pd.DataFrame({"a": [[1, 2], {"b": 2}, None]}), NAMES)[:2] == ("a", 1)


@pytest.mark.parametrize(
    ("dtype", "by", "differs"),
    [
        ("float64", 1e-10, False),
        ("float64", 1e-8, True),
        ("Float64", 1e-10, False),
        ("float32", 1e-6, False),
        ("float32", 1e-4, True),
    ],
)
def test_floats_may_be_apart_by_a_part_of_the_largest_in_their_column(dtype: str, by: float, differs: bool) -> None:
    one = pd.DataFrame({"a": [0.0, 100.0]}, dtype=dtype)
    found = first_difference(one, one + 100 * by, NAMES, is_close_enough=True)
    assert (found is not None) == differs
    assert first_difference(one, one + 100 * by, NAMES) is not None
