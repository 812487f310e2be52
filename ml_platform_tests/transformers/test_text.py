import pandas as pd
import pytest

from ml_platform.errors import DataError
from ml_platform.schema import Schema
from ml_platform.transformers import TextCounts

SEEN = pd.DataFrame({"t": ["Bad day", "a bad bad cat", "cat ate", None]})


def test_words_are_counted_and_a_missing_text_is_empty() -> None:
    found = TextCounts("t").fit(SEEN).transform(pd.DataFrame({"t": ["cat CAT dog", None]})).drop(columns="t")
    assert list(found) == ["t_ate", "t_bad", "t_cat", "t_day"]
    assert found.to_numpy().tolist() == [[0, 0, 2, 0], [0, 0, 0, 0]]
    assert {str(kind) for kind in found.dtypes} == {"int64"}


def test_the_most_frequent_words_are_kept_and_of_equal_ones_the_first_in_the_alphabet() -> None:
    assert TextCounts("t", max_features=3).fit(SEEN).words_ == ["ate", "bad", "cat"]
    assert TextCounts("t", min_df=2, prefix="word").fit(SEEN).transform(SEEN).columns.tolist() == [
        "t",
        "word_bad",
        "word_cat",
    ]


def test_training_rows_without_words_are_refused() -> None:
    with pytest.raises(DataError, match="TextCounts: column 't': expected words in the training rows"):
        TextCounts("t").fit(pd.DataFrame({"t": ["", "a"]}))


def test_names_that_are_taken_and_no_room_are_refused() -> None:
    with pytest.raises(DataError, match="TextCounts: it would add a column 't_bad'"):
        TextCounts("t").fit(SEEN.assign(t_bad=1))
    with pytest.raises(DataError, match="max_features is 0; expected 1 or more"):
        TextCounts("t", max_features=0).output_schema(Schema.of(t="string"))
