"""The rows that the zoo is tried on: departures, and the weather at two airports."""

import numpy as np
import pandas as pd

_RNG = np.random.default_rng(7)
_COUNT = 80
_HOURS = pd.date_range("2024-03-01", periods=60, freq="h", tz="UTC").as_unit("us")

FLIGHTS = pd.DataFrame(
    {
        "flight": np.arange(_COUNT) * 3 + 11,
        "at": pd.date_range("2024-03-01 02:00", periods=_COUNT, freq="37min", tz="UTC").as_unit("us"),
        "origin": _RNG.choice(["JFK", "LGA"], _COUNT),
        "dest": _RNG.choice([f"D{number:02}" for number in range(30)], _COUNT),
        "distance": np.round(_RNG.uniform(100, 3000, _COUNT)),
        "seats": np.where(_RNG.random(_COUNT) < 0.3, np.nan, _RNG.integers(50, 300, _COUNT)),
        "delay": np.round(_RNG.normal(5, 20, _COUNT), 1),
    }
)
WEATHER = pd.DataFrame(
    {
        "at": np.repeat(_HOURS, 2),
        "origin": ["JFK", "LGA"] * len(_HOURS),
        "temp": np.round(_RNG.normal(40, 10, 2 * len(_HOURS)), 1),
    }
)
LATE = (FLIGHTS["delay"] > 15).to_numpy()
