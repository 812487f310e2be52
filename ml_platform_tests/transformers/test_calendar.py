import pandas as pd

from ml_platform.transformers import Calendar


def test_parts_of_a_time() -> None:
    frame = pd.DataFrame({"at": pd.to_datetime(["2013-12-31 23:59"])})
    parts = ["minute_of_day", "hour_of_day", "day_of_week", "day_of_month", "day_of_year", "month_of_year"]
    assert Calendar("at", parts).transform(frame)[parts].iloc[0].tolist() == [1439, 23, 1, 31, 365, 12]


def test_the_input_is_not_changed() -> None:
    frame = pd.DataFrame({"at": pd.to_datetime(["2013-01-01"])})
    Calendar("at").transform(frame)
    assert list(frame.columns) == ["at"]
