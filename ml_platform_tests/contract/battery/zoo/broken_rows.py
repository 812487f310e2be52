"""Transformers that break promises about rows and time, as people write them."""

from collections.abc import Sequence
from datetime import timedelta

import pandas as pd

from ml_platform import DataTransformer
from ml_platform_tests.contract.battery.zoo.specimen import breaks

# 4. rows


@breaks("rows")
class DropsRowsWithMissingValues(DataTransformer):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.dropna(subset=["seats"])


@breaks("rows", "point_in_time", "partition_invariance", side=True)
class JoinsSeveralRowsToOne(DataTransformer):
    as_of = "at"
    row_wise = True

    def transform(self, X: pd.DataFrame, weather: pd.DataFrame) -> pd.DataFrame:
        recent = weather.assign(hour=weather["at"].dt.floor("2h")).drop(columns="at")
        return X.assign(hour=X["at"].dt.floor("2h") - timedelta(hours=4)).merge(recent, on=["origin", "hour"])


@breaks("rows", "row_wise", "partition_invariance")
class SortsItsRows(DataTransformer):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.sort_values("distance").assign(far=lambda frame: frame["distance"] > 1000)


@breaks("rows")
class FiltersAndRepairs(DataTransformer):
    rows = "filter"

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X[X["delay"] > 0].assign(distance=lambda frame: frame["distance"].clip(upper=1000))


@breaks("rows", given={"key": ["origin"]})
class AggregatesByMoreThanItsKey(DataTransformer):
    rows = "aggregate"

    def __init__(self, key: Sequence[str]):
        self.key = key

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.groupby(["origin", "dest"], as_index=False)["delay"].mean()


@breaks("rows")
class MisspellsWhatItDoes(DataTransformer):
    rows = "filtering"  # type: ignore[assignment]

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(far=X["distance"] > 1000)


# 5. row_wise


@breaks("row_wise", "partition_invariance")
class ScalesByTheBatch(DataTransformer):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(scaled=(X["distance"] - X["distance"].mean()) / X["distance"].std())


@breaks("row_wise", "partition_invariance")
class AveragesTheGroupOnline(DataTransformer):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(usual=X.groupby("origin")["delay"].transform("mean"))


@breaks("row_wise", "partition_invariance")
class CodesFromTheBatch(DataTransformer):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(dest_code=X["dest"].astype("category").cat.codes)


@breaks("row_wise", "partition_invariance")
class RanksInTheBatch(DataTransformer):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(rank=X["distance"].rank(pct=True))


@breaks("row_wise", "partition_invariance")
class FillsFromTheRowBefore(DataTransformer):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(seats=X["seats"].ffill())


@breaks("row_wise", "partition_invariance")
class FillsWithTheMedianOfTheBatch(DataTransformer):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(seats=X["seats"].fillna(X["seats"].median()))


@breaks("row_wise", "partition_invariance")
class OneColumnForEachValueSeen(DataTransformer):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return pd.get_dummies(X, columns=["origin"])


@breaks("row_wise", "partition_invariance")
class SubtractsTheRowBefore(DataTransformer):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(since_last=X["at"].diff().dt.total_seconds())


@breaks("row_wise", "partition_invariance")
class IntegersWhereNothingIsMissing(DataTransformer):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X if X["seats"].isna().any() else X.astype({"seats": "int64"})


@breaks("partition_invariance", "row_wise")
class MarksWhatCameBefore(DataTransformer):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(is_repeat=X.duplicated())


# 6. partition_invariance


class _Windowed(DataTransformer):
    row_wise = False
    as_of = "at"
    lookback = timedelta(hours=3)


@breaks("partition_invariance", "row_wise")
class LooksBackFurtherThanItSays(_Windowed):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(usual=X.rolling("12h", on="at")["delay"].mean())


@breaks("partition_invariance", "row_wise")
class AveragesAllThatWasBefore(_Windowed):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(usual=X["delay"].expanding().mean())


@breaks("partition_invariance")
class KeepsTheFirstOfEachDestination(DataTransformer):
    rows = "filter"

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.drop_duplicates("dest")


@breaks("partition_invariance")
class KeepsTheUpperHalf(DataTransformer):
    rows = "filter"

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X[X["distance"] >= X["distance"].median()]


@breaks("partition_invariance", given={"key": ["origin"]})
class SharesOfTheTotal(DataTransformer):
    rows = "aggregate"

    def __init__(self, key: Sequence[str]):
        self.key = key

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        counts = X.groupby(self.key, as_index=False).size()
        return counts.assign(share=counts["size"] / len(X))


@breaks("partition_invariance", side=True)
class LooksFurtherIntoTheWeatherThanItSays(DataTransformer):
    as_of = "at"
    lookback = timedelta(minutes=30)

    def transform(self, X: pd.DataFrame, weather: pd.DataFrame) -> pd.DataFrame:
        wanted = X[["at", "origin"]].reset_index(drop=True).reset_index().sort_values("at")
        found = pd.merge_asof(wanted, weather.sort_values("at"), on="at", by="origin")
        return X.assign(temp=found.sort_values("index")["temp"].to_numpy())


# 7. point_in_time


@breaks("point_in_time", "row_wise")
class CentresItsWindow(_Windowed):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(usual=X.rolling("3h", on="at", center=True)["delay"].mean())


@breaks("point_in_time", "partition_invariance", side=True)
class TakesTheNearestWeather(DataTransformer):
    as_of = "at"

    def transform(self, X: pd.DataFrame, weather: pd.DataFrame) -> pd.DataFrame:
        wanted = X[["at", "origin"]].reset_index(drop=True).reset_index().sort_values("at")
        found = pd.merge_asof(wanted, weather.sort_values("at"), on="at", by="origin", direction="nearest")
        return X.assign(temp=found.sort_values("index")["temp"].to_numpy())


@breaks("point_in_time", "partition_invariance", side=True)
class TakesTheNewestOfAllTimes(DataTransformer):
    as_of = "at"

    def transform(self, X: pd.DataFrame, weather: pd.DataFrame) -> pd.DataFrame:
        newest = weather.sort_values("at").groupby("origin")["temp"].last().to_dict()
        return X.assign(temp=X["origin"].map(newest).astype("float64"))


@breaks("point_in_time", "row_wise")
class FillsFromTheFuture(_Windowed):
    lookback = timedelta(days=30)

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(seats=X["seats"].bfill())


@breaks("point_in_time", "partition_invariance", given={"key": ["origin", "at"]})
class TellsAnHourItsWholeDay(DataTransformer):
    rows = "aggregate"
    as_of = "at"

    def __init__(self, key: Sequence[str]):
        self.key = key

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        days = X.assign(day=X["at"].dt.floor("D"))
        return days.assign(planned=days.groupby("day")["flight"].transform("size"))[["origin", "at", "planned"]]
