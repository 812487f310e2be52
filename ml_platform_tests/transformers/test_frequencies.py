import pandas as pd
import pytest

from ml_platform.errors import DataError
from ml_platform.transformers import Frequencies


def test_shares_are_those_of_the_rows_it_was_fitted_on() -> None:
    step = Frequencies(["c"]).fit(pd.DataFrame({"c": ["a", "a", "b", None]}))
    assert step.transform(pd.DataFrame({"c": ["a", "b", "z", None]}))["c_share"].tolist() == [0.5, 0.25, 0.0, 0.0]


def test_a_column_that_is_no_string_is_refused() -> None:
    with pytest.raises(DataError, match="Frequencies: column 'c' is int64; expected string"):
        Frequencies(["c"]).fit(pd.DataFrame({"c": [1, 2]}))


def test_its_state_is_plain() -> None:
    assert Frequencies(["c"]).fit(pd.DataFrame({"c": ["b", "a"]})).shares_ == {"c": {"a": 0.5, "b": 0.5}}
