from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_platform.errors import DataError
from ml_platform.schema import Schema
from ml_platform.transformers import Lag

START = pd.Timestamp("2013-01-01", tz="UTC").as_unit("us")


def rows(hours: list[float], values: list[float], plane: list[str | None]) -> pd.DataFrame:
    at = pd.Series([START + pd.Timedelta(hours=hour) for hour in hours], dtype="datetime64[us, UTC]")
    return pd.DataFrame({"plane": pd.Series(plane, dtype="str"), "at": at, "v": values})


STEP = Lag(["v"], ["plane"], "at", within_hours=6)


def before(frame: pd.DataFrame) -> list[float]:
    return list(STEP.transform(frame)["v_before"])


def test_the_newest_strictly_earlier_row_of_the_same_kind_is_taken_unless_it_is_too_old() -> None:
    frame = rows([0, 1, 1, 6, 12.5], [1.0, 2.0, 3.0, 4.0, 5.0], ["A", "A", "B", "A", "A"])
    np.testing.assert_equal(before(frame), [np.nan, 1.0, np.nan, 2.0, np.nan])


def test_the_oldest_row_may_be_exactly_as_old_as_allowed() -> None:
    assert before(rows([0, 6], [1.0, 2.0], ["A", "A"]))[1] == 1.0


def test_a_missing_value_of_the_newest_row_is_missing() -> None:
    assert np.isnan(before(rows([0, 1, 2], [1.0, np.nan, 2.0], ["A"] * 3))[2])


def test_a_missing_kind_is_no_kind() -> None:
    assert np.isnan(before(rows([0, 1], [1.0, 2.0], [None, None]))).all()


def test_of_rows_of_one_time_the_largest_value_is_taken_whatever_their_order() -> None:
    frame = rows([1, 1, 2, 0], [3.0, 9.0, 1.0, 4.0], ["A"] * 4)
    np.testing.assert_equal(before(frame), [4.0, 4.0, 9.0, np.nan])
    np.testing.assert_equal(before(frame[::-1]), [np.nan, 9.0, 4.0, 4.0])


def test_without_kinds_all_rows_are_of_one() -> None:
    step = Lag(["v"], [], "at", 6, suffix="_last")
    assert step.transform(rows([0, 1], [1.0, 2.0], ["A", "B"]))["v_last"].tolist()[1] == 1.0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 5), st.sampled_from("AB")), min_size=1, max_size=10))
def test_it_agrees_with_the_definition(drawn: list[tuple[int, int, str]]) -> None:
    frame = rows([hour for hour, _, _ in drawn], [float(value) for _, value, _ in drawn], [p for _, _, p in drawn])
    for (hour, _, plane), found in zip(drawn, before(frame), strict=True):
        earlier = [(h, v) for h, v, p in drawn if p == plane and hour - 6 <= h < hour]
        assert found == max(earlier)[1] if earlier else np.isnan(found)


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (Lag(["v"], ["plane"], "at", 0), "within_hours is 0; expected more than 0"),
        (Lag(["plane"], [], "at", 1), "column 'plane' is string; expected integer or number"),
        (Lag(["v"], [], "v", 1), "Lag, on: column 'v' is number; expected datetime or timestamp"),
        (Lag(["v"], ["at"], "at", 1), "Lag, by: column 'at' is timestamp; expected string or integer or boolean"),
        (Lag(["w"], [], "at", 1), "no column 'w'"),
    ],
)
def test_what_does_not_fit_is_refused(step: Lag, why: str) -> None:
    with pytest.raises(DataError, match=why):
        step.output_schema(Schema.of(plane="string?", at="timestamp", v="number?"))


def test_what_is_known_later_is_seen_later() -> None:
    at = pd.to_datetime(["2013-01-01 05:00", "2013-01-01 06:00", "2013-01-01 08:00", "2013-01-01 08:01"])
    rows = pd.DataFrame({"at": at, "delay": [20.0, 4.0, 7.0, 9.0]})
    step = Lag(["delay"], by=[], on="at", within_hours=2, lag_hours=2)
    assert step.transform(rows)["delay_before"].tolist()[2:] == [20.0, 4.0]
    assert step.lookback == timedelta(hours=4)
    with pytest.raises(DataError, match="lag_hours is -1; expected 0 or more"):
        Lag(["delay"], [], "at", 2, lag_hours=-1).output_schema(Schema.of(at="datetime", delay="number"))
