import pandas as pd

from ml_platform.transformers import Frequencies


def test_shares_are_those_of_the_rows_it_was_fitted_on() -> None:
    step = Frequencies(["c"]).fit(pd.DataFrame({"c": ["a", "a", "b", None]}))
    assert step.transform(pd.DataFrame({"c": ["a", "b", "z", None]}))["c_share"].tolist() == [0.5, 0.25, 0.0, 0.0]


def test_its_state_is_plain() -> None:
    assert Frequencies(["c"]).fit(pd.DataFrame({"c": ["b", "a"]})).shares_ == {"c": {"a": 0.5, "b": 0.5}}
