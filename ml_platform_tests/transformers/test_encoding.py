import pandas as pd
import pytest

from ml_platform.errors import DataError
from ml_platform.transformers import Codes, OneHot

SEEN = pd.DataFrame({"c": ["b", "a", "b", None, "d", "e"]})
NEW = pd.DataFrame({"c": ["a", "b", "z", None]})


def test_codes_are_places_in_order_and_unseen_or_missing_values_have_none() -> None:
    assert Codes(["c"]).fit(SEEN).transform(NEW)["c_code"].tolist() == [0, 1, -1, -1]
    assert Codes(["c"]).fit(SEEN.dropna()).transform(NEW)["c_code"].tolist() == [0, 1, -1, -1]


def test_each_category_has_a_column_and_unseen_or_missing_values_have_zeros() -> None:
    found = OneHot(["c"]).fit(SEEN).transform(NEW).drop(columns="c")
    assert list(found) == ["c_a", "c_b", "c_d", "c_e"]
    assert found.to_numpy().tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("step", [OneHot(["c"], max_categories=2), OneHot(["c"], min_frequency=2)])
def test_rare_and_unseen_categories_share_a_column_and_missing_values_have_zeros(step: OneHot) -> None:
    found = step.fit(SEEN).transform(NEW).drop(columns="c")
    assert list(found) == ["c_b", "c_infrequent_sklearn"]
    assert found.to_numpy().tolist() == [[0, 1], [1, 0], [0, 1], [0, 0]]


def test_no_rows_give_no_rows() -> None:
    assert list(OneHot(["c"]).fit(SEEN).transform(NEW[:0])) == ["c", "c_a", "c_b", "c_d", "c_e"]


def test_names_that_are_taken_are_refused() -> None:
    with pytest.raises(DataError, match="OneHot: it would add a column 'c_a', which the frame has already"):
        OneHot(["c"]).fit(SEEN.assign(c_a=1))
    with pytest.raises(DataError, match="OneHot: it would add a column 'c_x_y', which it gives twice"):
        OneHot(["c", "c_x"]).fit(pd.DataFrame({"c": ["x_y"], "c_x": ["y"]}))


def test_a_column_without_values_and_one_of_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="OneHot: column 'c': expected a value in the training rows, found none"):
        OneHot(["c"]).fit(pd.DataFrame({"c": pd.Series([None], dtype="str")}))
    for step in (OneHot(["c"]), Codes(["c"])):
        with pytest.raises(DataError, match=f"{type(step).__name__}: column 'c' is integer; expected string"):
            step.fit(pd.DataFrame({"c": [1]}))
