"""Every step that everyone uses keeps its promises."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml_platform import check_transformer, transformers
from ml_platform.transformers import (
    Aggregate,
    Clip,
    Codes,
    FillMissing,
    Filter,
    Lag,
    OneHot,
    RareCategories,
    Rolling,
    ScaleImages,
    TextCounts,
)
from ml_platform_tests import tiers
from ml_platform_tests.contract.battery.zoo.rows import FLIGHTS
from ml_platform_tests.contract.battery.zoo.sound import SOUND

# Missing values; several rows of one place and time; a destination that one row alone has.
ROWS = pd.DataFrame(
    {
        "at": FLIGHTS["at"].dt.floor("2h"),
        "origin": FLIGHTS["origin"].mask(FLIGHTS.index % 11 == 3),
        "dest": [None if place % 7 == 2 else f"D{place % 3}" if place else "rare" for place in FLIGHTS.index],
        "note": [None if place % 5 == 1 else f"late {'crew' if place % 3 else 'ice'} again" for place in FLIGHTS.index],
        "delay": FLIGHTS["delay"].mask(FLIGHTS.index % 9 == 4),
    }
)[:16]
PIXELS = ["p00", "p01", "p10", "p11"]
IMAGES = pd.DataFrame(np.arange(12 * 4).reshape(12, 4) * 7 % 17, columns=PIXELS)

EXAMPLES = [
    (Aggregate(["dest", "at"], {"n": "count(*)", "mean": "avg(delay)"}, as_of="at"), ROWS[["dest", "at", "delay"]]),
    (Clip(["delay"], 0.1, 0.9), ROWS[["delay"]]),
    (Codes(["dest"]), ROWS[["dest"]]),
    (FillMissing(["dest", "delay"], "most_frequent"), ROWS[["dest", "delay"]]),
    (Filter("delay > 0 OR dest = 'D1'"), ROWS[["delay", "dest"]]),
    (Lag(["delay"], ["origin"], "at", 4, lag_hours=1), ROWS[["delay", "origin", "at"]]),
    (OneHot(["dest"], min_frequency=2), ROWS[["dest"]]),
    (RareCategories(["dest"], 0.2), ROWS[["dest"]]),
    (Rolling(["delay"], ["origin"], "at", 5, ["mean", "max", "count"]), ROWS[["delay", "origin", "at"]]),
    (ScaleImages(PIXELS, 16, [2, 2], 2), IMAGES),
    (TextCounts("note", 3), ROWS[["note"]]),
]


@pytest.mark.parametrize(
    ("transformer", "rows"), tiers.cases("steps for everyone and their promises", EXAMPLES),
    ids=[type(step).__name__ for step, _ in EXAMPLES],
)  # fmt: skip
def test_a_step_declares_all_promises_and_breaks_none(transformer: Any, rows: pd.DataFrame) -> None:
    report = check_transformer(transformer, rows)
    assert report.broken == [], str(report)
    assert report.of("not declared") == [], str(report)


def test_every_step_is_tried_here_or_in_the_zoo() -> None:
    tried = [transformer for transformer, _ in EXAMPLES] + [sound.transformer for sound in SOUND.values()]
    assert set(transformers.__all__) <= {type(transformer).__name__ for transformer in tried}
