"""Runs and steps are started again by one policy: so often, so much later, on the next larger launcher."""

from dataclasses import replace

import pytest

from ml_platform.launchers.backends.protocol import Timeouts
from ml_platform.launchers.leases.schema import Launch, Work
from ml_platform.launchers.retries import (
    REPEATS,
    may_repeat,
    may_start_over,
    next_launcher,
    pause_after_death_seconds,
    pause_seconds,
)

LAUNCH = Launch("launch", Work("run", "run", "job"), 1, 1, "cpu", 0.0)
TIMEOUTS = Timeouts(first_seconds=5.0, longest_seconds=60.0)


def test_what_is_lost_is_started_again_so_often_and_no_more() -> None:
    assert [may_repeat(times) for times in range(1, REPEATS + 2)] == [True] * REPEATS + [False]
    assert [may_start_over(replace(LAUNCH, deaths=deaths)) for deaths in range(REPEATS + 1)] == [True] * REPEATS + [
        False
    ]


@pytest.mark.parametrize(("times", "launcher"), [(0, "cpu"), (1, "large"), (2, "huge"), (3, None)])
def test_out_of_memory_goes_to_the_next_launcher(times: int, launcher: str | None) -> None:
    assert next_launcher(("cpu", "large", "huge"), times) == launcher


@pytest.mark.parametrize(
    ("tries", "asked", "seconds"), [(0, 0.0, 5.0), (0, 30.0, 30.0), (2, 0.0, 20.0), (9, 0.0, 60.0), (9, 90.0, 90.0)]
)
def test_a_launcher_that_cannot_is_left_alone_as_long_as_it_asks(tries: int, asked: float, seconds: float) -> None:
    assert pause_seconds(TIMEOUTS, replace(LAUNCH, tries=tries), asked) == seconds


def test_the_first_death_costs_no_time() -> None:
    assert [pause_after_death_seconds(TIMEOUTS, replace(LAUNCH, deaths=deaths)) for deaths in range(3)] == [
        0.0,
        5.0,
        10.0,
    ]
