from datetime import date, timedelta

import pytest

from ml_platform.components.options import partitions_of
from ml_platform.errors import PlatformError
from ml_platform.sources import Partitions

YEAR = (date(2013, 1, 1), date(2014, 1, 1))


@pytest.mark.parametrize(
    ("every", "end", "count"),
    [("day", date(2014, 1, 1), 365), ("week", date(2013, 12, 31), 52), ("month", date(2014, 1, 1), 12)],
)
def test_keys_are_the_ones_that_dagster_uses(every: str, end: date, count: int) -> None:
    spans = Partitions(every, date(2013, 1, 1), end)
    assert spans.keys == partitions_of(spans).get_partition_keys()
    assert len(spans.keys) == count


def test_a_span_that_is_no_whole_number_of_partitions_is_refused() -> None:
    with pytest.raises(PlatformError, match="every week from 2013-01-01 do not end on 2014-01-01; try 2014-01-07"):
        Partitions("week", *YEAR)
    with pytest.raises(PlatformError, match="start on 2013-01-02; expected the first day of a month"):
        Partitions("month", date(2013, 1, 2), date(2014, 1, 1))


def test_a_grain_that_does_not_exist_is_refused() -> None:
    with pytest.raises(PlatformError, match="partitions every 'monht': did you mean 'month'"):
        Partitions("monht", *YEAR)


@pytest.mark.parametrize(
    ("every", "hours", "found"),
    [
        ("month", 0, ["2013-03-01"]),
        ("month", 4, ["2013-02-01", "2013-03-01"]),
        ("day", 4, ["2013-02-28", "2013-03-01"]),
        ("day", 30, ["2013-02-27", "2013-02-28", "2013-03-01"]),
    ],
)
def test_a_lookback_reaches_into_the_partitions_before(every: str, hours: int, found: list[str]) -> None:
    assert Partitions(every, *YEAR).with_lookback("2013-03-01", timedelta(hours=hours)) == found


def test_the_first_partition_has_nothing_before_it() -> None:
    assert Partitions("month", *YEAR).with_lookback("2013-01-01", timedelta(hours=4)) == ["2013-01-01"]


def test_steps_back_is_what_dagsters_mapping_needs() -> None:
    assert Partitions("month", *YEAR).steps_back(timedelta(hours=4)) == 1
    assert Partitions("day", *YEAR).steps_back(timedelta(days=7)) == 7
    assert Partitions("day", *YEAR).steps_back(timedelta(0)) == 0


def test_partitions_between_two_days_lie_wholly_within() -> None:
    assert Partitions("month", *YEAR).between(date(2013, 2, 15), date(2013, 5, 1)) == ["2013-03-01", "2013-04-01"]
