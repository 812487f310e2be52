import datetime

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from ml_platform.contract.construction import build
from ml_platform.versions.description import Undescribable, describe, paths_in


def test_defaults_are_part_of_it_so_that_saying_them_changes_nothing() -> None:
    said = build("sklearn.preprocessing.StandardScaler", {"with_mean": True})
    assert describe(said) == describe(StandardScaler())
    assert describe(StandardScaler(with_mean=False)) != describe(StandardScaler())


def test_parts_functions_and_types_are_named() -> None:
    found = describe(make_pipeline(FunctionTransformer(np.log1p), OneHotEncoder(dtype=np.float32)))
    assert {"numpy.log1p", "numpy.float32"} <= set(paths_in(found))
    assert any(path.endswith("OneHotEncoder") for path in paths_in(found))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.5), ("a", "b"), (None, 0), (True, "True"), ([1, 2], [2, 1]), ({"a": 1}, {"a": 2}),
        (float("nan"), float("inf")), (np.array([1, 2]), np.array([1, 3])), (np.array([1]), np.array([1.0])),
        ((1, 2), [1, 2]), ({1: 5}, {"1": 5}), ({"b": 1, "a": 2}, {"a": 2, "b": 1}),
        (StandardScaler(), StandardScaler().set_output(transform="pandas")),
        (datetime.date(2013, 1, 1), datetime.date(2013, 1, 2)), (np.log, np.exp),
    ],
    ids=str,
)  # fmt: skip
def test_different_values_are_told_apart_and_equal_ones_are_not(one: object, other: object) -> None:
    assert describe(one) != describe(other)
    assert describe(one) == describe(one)


@pytest.mark.parametrize(
    "value",
    [lambda x: x, object(), pd.DataFrame({"a": ["x"]}), np.array([object()])],
    ids=["lambda", "object", "frame", "array"],
)
def test_what_cannot_be_told_is_refused(value: object) -> None:
    with pytest.raises(Undescribable, match=r"plain value|no name to tell it by|its name does not tell it"):
        describe(value)
