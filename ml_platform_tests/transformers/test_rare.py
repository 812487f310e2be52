import pandas as pd
import pytest

from ml_platform.errors import DataError
from ml_platform.schema import Schema
from ml_platform.transformers import RareCategories

SEEN = pd.DataFrame({"c": ["a", "a", "b", None]})


def test_rare_and_unseen_values_become_the_word_and_missing_ones_stay() -> None:
    step = RareCategories(["c"], min_frequency=0.5, other="rest").fit(SEEN)
    found = step.transform(pd.DataFrame({"c": ["a", "b", "z", None]}))["c"]
    assert found.fillna("missing").tolist() == ["a", "rest", "rest", "missing"]
    assert str(found.dtype) == "str"


def test_exactly_the_share_of_all_rows_is_enough() -> None:
    assert RareCategories(["c"], min_frequency=0.25).fit(SEEN).kept_ == {"c": ["a", "b"]}


def test_a_share_that_is_none_and_a_column_of_numbers_are_refused() -> None:
    with pytest.raises(DataError, match=r"min_frequency is 5; expected a share in 0\.\.1"):
        RareCategories(["c"], min_frequency=5).output_schema(Schema.of(c="string"))
    with pytest.raises(DataError, match="RareCategories: column 'c' is integer; expected string"):
        RareCategories(["c"]).fit(pd.DataFrame({"c": [1]}))


def test_with_a_suffix_the_columns_stay_as_they_were() -> None:
    seen = pd.DataFrame({"carrier": ["UA", "UA", "UA", "YV"]})
    step = RareCategories(["carrier"], min_frequency=0.5, suffix="_known").fit(seen)
    assert step.transform(seen).to_dict("list") == {
        "carrier": ["UA", "UA", "UA", "YV"], "carrier_known": ["UA", "UA", "UA", "other"],
    }  # fmt: skip
    assert step.output_schema(Schema.of(carrier="string")).names == ["carrier", "carrier_known"]
