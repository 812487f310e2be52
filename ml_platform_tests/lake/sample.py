"""Takes the sample of real rows that the tests run on: `python -m ml_platform_tests.lake.sample`."""

from pathlib import Path

import pandas as pd

from ml_platform.sources import nycflights13

DAYS = (7, 14, 21)
FLIGHTS_A_DAY = 40


def main() -> None:
    folder = Path(__file__).parent
    flights, weather, planes, airports, _ = (
        pd.read_csv(table.path, dtype=str, keep_default_na=False) for table in nycflights13.TABLES
    )
    flights = flights[flights["day"].isin(map(str, DAYS))]
    flights = flights.groupby(["month", "day"], sort=False).sample(FLIGHTS_A_DAY, random_state=0)
    weather = weather[weather["day"].isin(map(str, DAYS))]
    planes = planes[planes["tailnum"].isin(flights["tailnum"])]
    airports = airports[airports["faa"].isin(flights["dest"])]
    for name, frame in (("flights", flights), ("weather", weather), ("planes", planes), ("airports", airports)):
        frame.to_csv(folder / f"{name}.csv", index=False)


if __name__ == "__main__":
    main()
