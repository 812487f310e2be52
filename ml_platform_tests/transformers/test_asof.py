import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_platform.errors import DataError
from ml_platform.schema import Schema
from ml_platform.transformers import AsOfLookup


def at(*hours: str) -> pd.Series:
    return pd.Series(pd.to_datetime([f"2013-01-01 {hour}" for hour in hours], utc=True).as_unit("us"))


STEP = AsOfLookup("at", ["place"], ["temp"], lag_hours=1, tolerance_hours=2)
WEATHER = pd.DataFrame({"place": "X", "at": at("03:00", "04:00", "05:00"), "temp": [3.0, 4.0, 5.0]})


@pytest.mark.parametrize(
    ("hour", "temp"), [("05:00", 4.0), ("05:59", 4.0), ("06:00", 5.0), ("08:00", 5.0), ("08:01", None), ("03:59", None)]
)
def test_the_newest_row_that_was_known_an_hour_before_is_taken(hour: str, temp: float | None) -> None:
    found = STEP.transform(pd.DataFrame({"place": ["X"], "at": at(hour)}), weather=WEATHER)["temp"].tolist()
    assert found == [temp] if temp is not None else np.isnan(found[0])


def test_rows_of_another_place_are_not_taken() -> None:
    assert STEP.transform(pd.DataFrame({"place": ["Y"], "at": at("05:00")}), weather=WEATHER)["temp"].isna().all()


def test_the_future_changes_nothing() -> None:
    flights = pd.DataFrame({"place": "X", "at": at("04:30", "05:30")})
    past = WEATHER[WEATHER["at"] <= at("04:30")[0]]
    whole = STEP.transform(flights, weather=WEATHER)
    pd.testing.assert_frame_equal(STEP.transform(flights, weather=past), whole)


def test_rows_keep_their_order_and_index() -> None:
    flights = pd.DataFrame({"place": "X", "at": at("06:00", "04:00", "05:00")}).set_index(pd.Index([7, 5, 6]))
    found = STEP.transform(flights, weather=WEATHER)
    assert found["temp"].tolist() == [5.0, 3.0, 4.0]
    assert found.index.tolist() == [7, 5, 6]


def test_the_lookback_is_lag_and_tolerance() -> None:
    assert STEP.lookback.total_seconds() == 3 * 3600


def test_two_other_inputs_are_refused() -> None:
    schema = Schema.of(place="string", at="timestamp", temp="number")
    with pytest.raises(DataError, match="AsOfLookup takes one other input, found 2"):
        STEP.output_schema(schema, a=schema, b=schema)


def test_a_missing_key_or_time_matches_nothing() -> None:
    weather = pd.DataFrame({"place": [None, "X"], "at": at("04:00", "04:00"), "temp": [9.0, 4.0]})
    flights = pd.DataFrame({"place": [None, "X", "X"], "at": at("05:00", "05:00", "05:00")})
    flights.loc[2, "at"] = pd.NaT
    np.testing.assert_array_equal(STEP.transform(flights, weather=weather)["temp"], [np.nan, 4.0, np.nan])


def test_rows_of_one_time_and_kind_with_other_values_are_refused_and_equal_ones_are_one() -> None:
    twice = pd.concat([WEATHER, WEATHER[:1]])
    flights = pd.DataFrame({"place": ["X"], "at": at("04:00")})
    assert STEP.transform(flights, weather=twice)["temp"].tolist() == [3.0]
    with pytest.raises(DataError, match=r"several rows of one time and kind, .*'place': 'X'.*; aggregate them to one"):
        STEP.transform(flights, weather=pd.concat([WEATHER, WEATHER[:1].assign(temp=8.0)]))


@pytest.mark.parametrize("name", ["lag_hours", "tolerance_hours"])
def test_the_future_is_refused(name: str) -> None:
    step = AsOfLookup("at", ["place"], ["temp"], **{name: -6})
    with pytest.raises(DataError, match=rf"AsOfLookup: {name} is -6; expected 0 or more: nobody knows the future"):
        step.transform(WEATHER.drop(columns="temp"), weather=WEATHER)


def test_without_by_all_rows_are_of_one_kind() -> None:
    step = AsOfLookup("at", [], ["temp"], lag_hours=1, tolerance_hours=2)
    assert step.transform(pd.DataFrame({"at": at("05:30")}), weather=WEATHER[["at", "temp"]])["temp"].tolist() == [4.0]


HOURS = st.lists(st.integers(0, 40), min_size=1, max_size=12)


@given(flights=HOURS, weather=st.sets(st.integers(0, 40), min_size=1))
def test_it_agrees_with_the_definition_for_any_hours(flights: list[int], weather: set[int]) -> None:
    """The newest row in [t - lag - tolerance, t - lag], by plain search."""
    start = pd.Timestamp("2013-01-01", tz="UTC").as_unit("us")

    def times(hours: list[int]) -> pd.Series:
        return pd.Series([start + pd.Timedelta(hours=hour) for hour in hours]).astype("datetime64[us, UTC]")

    known = sorted(weather)
    table = pd.DataFrame({"place": "X", "at": times(known), "temp": [float(hour) for hour in known]})
    found = STEP.transform(pd.DataFrame({"place": "X", "at": times(flights)}), weather=table)["temp"]
    for hour, temp in zip(flights, found, strict=True):
        candidates = [float(one) for one in known if hour - 3 <= one <= hour - 1]
        assert temp == max(candidates) if candidates else np.isnan(temp)
