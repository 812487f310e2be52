from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_platform.errors import DataError
from ml_platform.schema import Schema
from ml_platform.transformers import Rolling

START = pd.Timestamp("2013-01-01", tz="UTC").as_unit("us")
FUNCTIONS = ["mean", "sum", "min", "max", "count"]
STEP = Rolling(["v"], ["place"], "at", hours=3, functions=FUNCTIONS)
ADDED = [f"v_{function}_3h" for function in FUNCTIONS]
SCHEMA = Schema.of(place="string?", at="timestamp", v="number?")


def rows(hours: list[float], values: list[float], places: list[str | None]) -> pd.DataFrame:
    at = pd.Series([START + pd.Timedelta(hours=hour) for hour in hours], dtype="datetime64[us, UTC]")
    return pd.DataFrame({"place": pd.Series(places, dtype="str"), "at": at, "v": values})


def test_the_last_hours_of_the_same_place_are_seen_without_the_rows_own_time() -> None:
    frame = rows([0, 1, 1, 2, 3, 3.5], [8.0, 4.0, 6.0, 100.0, 1.0, 2.0], ["A", "A", "A", "B", "A", "A"])
    found = STEP.transform(frame)[ADDED].to_numpy()
    nothing = [np.nan] * 4 + [0]
    one, three = [8, 8, 8, 8, 1], [6, 18, 4, 8, 3]
    np.testing.assert_equal(found, [nothing, one, one, nothing, three, [11 / 3, 11, 1, 6, 3]])


def test_missing_values_are_passed_over_and_a_missing_place_sees_nothing() -> None:
    frame = rows([0, 1, 2, 0, 1], [np.nan, 4.0, 1.0, 5.0, 5.0], ["A", "A", "A", None, None])
    found = STEP.transform(frame)[ADDED].to_numpy()
    np.testing.assert_equal(found[2], [4, 4, 4, 4, 1])
    np.testing.assert_equal(found[4], [np.nan] * 4 + [0])


def test_a_time_without_a_zone_finer_than_microseconds_and_no_place_are_taken() -> None:
    frame = rows([0, 1], [1.0, 2.0], ["A", "B"]).drop(columns="place")
    naive = frame.assign(at=frame["at"].dt.tz_localize(None).dt.as_unit("ns"))
    assert Rolling(["v"], [], "at", 1.5).transform(naive)["v_mean_1.5h"].tolist()[1] == 1.0


def test_neither_the_other_rows_nor_their_order_change_a_bit() -> None:
    rng = np.random.default_rng(0)
    values = list(np.round(rng.normal(size=400), 9) * 10.0 ** rng.integers(0, 6, 400))
    frame = rows(list(np.sort(rng.integers(0, 60, 400)) / 4), values, list(rng.choice(["A", "B"], 400)))
    whole = STEP.transform(frame)[ADDED]
    mixed = frame.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(STEP.transform(mixed)[ADDED].sort_index(), whole, check_exact=True)
    late = frame["at"] >= START + pd.Timedelta(hours=7)
    seen = frame[frame["at"] >= START + pd.Timedelta(hours=4)]
    part = STEP.transform(seen).loc[late, ADDED]
    pd.testing.assert_frame_equal(part, whole[late], check_exact=True)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(-5, 5), st.sampled_from("AB")), min_size=1, max_size=10))
def test_it_agrees_with_the_definition(drawn: list[tuple[int, int, str]]) -> None:
    frame = rows([hour for hour, _, _ in drawn], [float(value) for _, value, _ in drawn], [p for _, _, p in drawn])
    found = STEP.transform(frame)
    for place, (hour, _, name) in enumerate(drawn):
        seen = [v for h, v, p in drawn if p == name and hour - 3 <= h < hour]
        expected = [sum(seen) / len(seen), sum(seen), min(seen), max(seen)] if seen else [np.nan] * 4
        np.testing.assert_equal(found[ADDED].iloc[place].to_numpy("float64"), [*expected, len(seen)])


def test_numbers_that_cannot_be_added_up_exactly_are_refused_by_column_and_row() -> None:
    with pytest.raises(DataError, match=r"Rolling: column 'v': expected numbers below 1e\+15, found inf in row 1"):
        STEP.transform(rows([0, 1], [1.0, np.inf], ["A", "A"]))


def test_rows_without_a_time_and_columns_of_another_type_are_refused() -> None:
    frame = rows([0, 1], [1.0, 2.0], ["A", "A"])
    with pytest.raises(DataError, match="Rolling: column 'at': expected a time in each row, none in row 1"):
        STEP.transform(frame.assign(at=frame["at"].where(frame.index < 1)))
    with pytest.raises(DataError, match="Rolling, on: column 'at' is number; expected datetime or timestamp"):
        STEP.transform(frame.assign(at=1.0))


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (Rolling(["v"], [], "at", 3, ["median"]), "Rolling has no function 'median': .*mean"),
        (Rolling(["v"], [], "at", -1), "hours is -1; expected more than 0"),
        (Rolling(["place"], [], "at", 1), "column 'place' is string; expected integer or number"),
        (Rolling(["v"], ["plce"], "at", 1), "Rolling, by: no column 'plce'; did you mean 'place'"),
    ],
)
def test_what_does_not_fit_is_refused(step: Rolling, why: str) -> None:
    with pytest.raises(DataError, match=why):
        step.output_schema(SCHEMA)


def test_what_is_known_later_is_seen_later() -> None:
    at = pd.to_datetime(["2013-01-01 05:00", "2013-01-01 06:00", "2013-01-01 08:00", "2013-01-01 08:01"])
    rows = pd.DataFrame({"at": at, "delay": [20.0, 4.0, 7.0, 9.0]})
    step = Rolling(["delay"], by=[], on="at", hours=2, functions=["sum"], lag_hours=2)
    assert step.transform(rows)["delay_sum_2h"].tolist()[2:] == [20.0, 24.0]
    assert step.lookback == timedelta(hours=4)
    with pytest.raises(DataError, match="lag_hours is -1; expected 0 or more"):
        Rolling(["delay"], [], "at", 2, lag_hours=-1).output_schema(Schema.of(at="datetime", delay="number"))
