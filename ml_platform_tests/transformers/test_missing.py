import pandas as pd
import pytest

from ml_platform.errors import DataError
from ml_platform.schema import Schema
from ml_platform.transformers import FillMissing

SEEN = pd.DataFrame({"v": [1.0, 2.0, 2.0, 7.0, None], "c": ["b", "a", "b", "a", None]})


@pytest.mark.parametrize(
    ("strategy", "fill_value", "value"),
    [
        ("median", None, 2.0),
        ("mean", None, 3.0),
        ("most_frequent", None, 2.0),
        ("constant", -1.0, -1.0),
        ("constant", None, 0.0),
    ],
)
def test_missing_numbers_become_what_was_learnt(strategy: str, fill_value: float | None, value: float) -> None:
    step = FillMissing(["v"], strategy, fill_value=fill_value).fit(SEEN)  # type: ignore[arg-type]
    found = step.transform(pd.DataFrame({"v": [None, 5.0]}))
    assert found["v"].tolist() == [value, 5.0]
    assert found["v_missing"].tolist() == [True, False]


@pytest.mark.parametrize(
    ("strategy", "fill_value", "value"),
    [("most_frequent", None, "a"), ("constant", "none", "none"), ("constant", None, "missing_value")],
)
def test_missing_texts_become_what_was_learnt(strategy: str, fill_value: str | None, value: str) -> None:
    step = FillMissing(["c"], strategy, indicators=False, fill_value=fill_value).fit(SEEN)  # type: ignore[arg-type]
    assert step.transform(SEEN)["c"].tolist()[-1] == value
    assert list(step.transform(SEEN)) == ["v", "c"]


def test_columns_without_a_training_value_are_refused_unless_the_value_is_given() -> None:
    empty = pd.DataFrame({"v": [float("nan")]})
    with pytest.raises(DataError, match="FillMissing: column 'v': expected a value in the training rows, found none"):
        FillMissing(["v"]).fit(empty)
    assert FillMissing(["v"], "constant", fill_value=1).fit(empty).values_ == {"v": 1.0}


def test_a_value_of_another_type_is_refused() -> None:
    with pytest.raises(DataError, match="FillMissing: column 'v' is float64"):
        FillMissing(["v"], "constant", fill_value="none").fit(SEEN)


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (FillMissing(["c"]), "column 'c' is string; expected integer or number"),
        (FillMissing(["v"], "modus"), "FillMissing has no strategy 'modus'"),  # type: ignore[arg-type]
    ],
)
def test_what_does_not_fit_is_refused(step: FillMissing, why: str) -> None:
    with pytest.raises(DataError, match=why):
        step.output_schema(Schema.of(v="number?", c="string?"))
