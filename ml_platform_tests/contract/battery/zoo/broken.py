"""Transformers that break promises about parameters, schemas, purity and processes, as people write them."""

import os
import random
from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any, Self

import numpy as np
import pandas as pd

from ml_platform import DataTransformer
from ml_platform.schema import Column, Schema
from ml_platform_tests.contract.battery.zoo.specimen import breaks

# 1. parameters


@breaks("parameters", given={"columns": ["distance"]})
class CopiesInTheConstructor(DataTransformer):
    def __init__(self, columns: Sequence[str]):
        self.columns = [column.lower() for column in columns]

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(**{f"{column}_km": X[column] * 1.609 for column in self.columns})


@breaks("parameters", given={"factor": 2.0})
class TakesAnyOption(DataTransformer):
    def __init__(self, factor: float = 1.0, **options: Any):
        self.factor = factor

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(scaled=X["distance"] * self.factor)


@breaks("parameters", given={"function": lambda values: values * 2})
class TakesALambda(DataTransformer):
    def __init__(self, function: Callable[[Any], Any]):
        self.function = function

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(twice=self.function(X["distance"]))


@breaks("parameters", given={"unit": "km"})
class PreparesATableInTheConstructor(DataTransformer):
    def __init__(self, unit: str):
        self.unit = unit
        self.per_mile = {"km": 1.609, "m": 1609.0}[unit]

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(far=X["distance"] * self.per_mile)


@breaks("parameters")
class FillsInADefault(DataTransformer):
    def __init__(self, columns: Sequence[str] | None = None):
        self.columns = columns or ["distance"]

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(**{f"{column}_km": X[column] * 1.609 for column in self.columns})


@breaks("parameters")
class TakesNoneForADefault(DataTransformer):
    def __init__(self, columns: Sequence[str] | None = None):
        self.columns = columns if columns is not None else ["distance"]

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(**{f"{column}_km": X[column] * 1.609 for column in self.columns})


@breaks("parameters", given={"factor": 2.0})
class CountsItsCopies(DataTransformer):
    def __init__(self, factor: float):
        self.factor = factor
        self.cache: dict[str, float] = {}

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(scaled=X["distance"] * self.factor)


# 2. schema


class _Declared(DataTransformer):
    gives: Column
    needs = Schema.of(distance="number")

    @property
    def input_schema(self) -> Schema:
        return self.needs

    def output_schema(self, schema: Schema, **side: Schema) -> Schema:
        return schema.with_columns([self.gives])


@breaks("schema")
class SaysIntegerAndGivesNumbers(_Declared):
    gives = Column("hundreds", "integer")

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(hundreds=X["distance"] // 100)


@breaks("schema")
class ForgetsMissingValues(_Declared):
    gives = Column("rows_of_seats", "number")
    needs = Schema.of(seats="number?")

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(rows_of_seats=X["seats"] / 6)


@breaks("schema")
class NeedsAColumnItDoesNotDeclare(_Declared):
    gives = Column("speed", "number", nullable=True)

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(speed=X["distance"] / (X["delay"].abs() + 60))


@breaks("schema")
class FailsOnTextThatIsNoCode(_Declared):
    gives = Column("number", "integer")
    needs = Schema.of(dest="string")

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(number=X["dest"].str[1:].astype("int64"))


@breaks("schema")
class LeavesAColumnBehind(_Declared):
    gives = Column("far", "boolean")

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        half = X["distance"] / 2
        return X.assign(far=half > 500, half=half)


@breaks("schema", given={"by": 10.0})
class GoesOutOfItsRange(_Declared):
    gives = Column("part", "number", False, 0, 1)
    needs = Schema.of(distance="number 0..5000")

    def __init__(self, by: float):
        self.by = by

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(part=X["distance"] / 3000)


# 3. purity


@breaks("purity")
class WritesIntoItsInput(DataTransformer):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        X["far"] = X["distance"] > 1000
        return X


@breaks("purity", "determinism", "row_wise", "partition_invariance", "safe_persistence", "concurrency")
class StampsTheTime(DataTransformer):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(prepared=pd.Timestamp.now())


@breaks("purity", "determinism")
class CountsDaysUntilToday(DataTransformer):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        today = pd.Timestamp(date.today(), tz="UTC")
        return X.assign(days_ago=(today - X["at"]).dt.days)


@breaks("purity", "determinism")
class AsksTheYearInFit(DataTransformer):
    learns = True

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        self.year_ = datetime.now().year
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(years_ago=self.year_ - X["at"].dt.year)


@breaks("purity", "row_wise", "partition_invariance")
class AlignsByIndex(DataTransformer):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        doubled = pd.Series(X["distance"].to_numpy() * 2)  # counts its rows from 0 again
        return X.assign(doubled=doubled)


@breaks("purity")
class ReadsTheEnvironment(DataTransformer):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(scaled=X["distance"] * float(os.environ.get("DISTANCE_FACTOR", "1.5")))


@breaks("purity", "row_wise", "partition_invariance", "determinism", "safe_persistence", "concurrency")
class JittersWithGlobalNumpy(DataTransformer):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(noisy=X["distance"] + np.random.normal(size=len(X)))


@breaks("purity", "concurrency")
class SeedsTheGlobalGenerator(DataTransformer):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        np.random.seed(7)
        weights = np.random.normal(size=2)
        return X.assign(mixed=X["distance"] * weights[0] + X["delay"] * weights[1])


@breaks("purity")
class TakesColumnsByPosition(DataTransformer):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(key=X.iloc[:, 0].astype(str) + X.iloc[:, 2].astype(str))


@breaks("purity", "row_wise", "partition_invariance", "concurrency")
class NumbersRowsForEver(DataTransformer):
    def __init__(self, start: int = 0):
        self.start = start

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        numbers = range(self.start, self.start + len(X))
        self.start += len(X)
        return X.assign(number=list(numbers))


@breaks("purity", "point_in_time", "partition_invariance", side=True)
class SortsTheOtherTableInPlace(DataTransformer):
    def transform(self, X: pd.DataFrame, weather: pd.DataFrame) -> pd.DataFrame:
        weather.sort_values("temp", ignore_index=True, inplace=True)
        return X.assign(coldest=weather["temp"].iloc[0])

    as_of = "at"


# 8. determinism


@breaks("determinism")
class ProjectsByChance(DataTransformer):
    learns = True

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        self.weights_ = np.random.default_rng().normal(size=2)
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(mixed=X[["distance", "delay"]].to_numpy() @ self.weights_)


@breaks("determinism")
class SamplesWithTheGlobalGenerator(DataTransformer):
    learns = True

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        chosen = random.sample(range(len(X)), 10)
        self.mean_ = float(X["distance"].to_numpy()[chosen].mean())
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(above=X["distance"] - self.mean_)


@breaks("determinism")
class NumbersASet(DataTransformer):
    learns = True

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        self.codes_ = {value: code for code, value in enumerate(set(X["dest"]))}
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(dest_code=X["dest"].map(self.codes_).fillna(-1).astype("int64"))


@breaks("determinism")
class HashesText(DataTransformer):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(bucket=[hash(value) % 1000 for value in X["dest"]])


_TODAY = pd.Timestamp.now(tz="UTC").normalize()


@breaks("determinism")
class NotesTheDayOfItsImport(DataTransformer):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(days_ago=(_TODAY - X["at"]).dt.days)


@breaks("determinism")
class ReadsTheFolderItRunsIn(DataTransformer):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(site=os.path.basename(os.getcwd()))


@breaks("determinism")
class AnswersItsTrainingRowsOtherwise(DataTransformer):
    learns = True

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        self.usual_ = {str(key): float(value) for key, value in X.groupby("origin")["delay"].mean().items()}
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(usual=X["origin"].map(self.usual_).astype("float64"))

    def fit_transform(self, X: pd.DataFrame, y: Any = None) -> pd.DataFrame:
        groups = self.fit(X).transform(X).assign(n=X.groupby("origin")["delay"].transform("size"))
        return groups.assign(usual=(groups["usual"] * groups["n"] - X["delay"]) / (groups["n"] - 1)).drop(columns="n")


# 9. safe_persistence


@breaks("safe_persistence")
class LearnsASeries(DataTransformer):
    learns = True

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        self.usual_ = X.groupby("origin")["delay"].mean()
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(usual=X["origin"].map(self.usual_))


@breaks("safe_persistence")
class LearnsAFunction(DataTransformer):
    learns = True

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        mean = X["distance"].mean()
        self.scale_ = lambda values: values / mean
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(scaled=self.scale_(X["distance"]))


_LEARNT: dict[str, float] = {}


@breaks("safe_persistence")
class LearnsIntoAGlobal(DataTransformer):
    learns = True

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        _LEARNT["mean"] = float(X["distance"].mean())
        self.columns_ = list(X.columns)
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(above=X["distance"] - _LEARNT.get("mean", 0.0))


@breaks("safe_persistence")
class LearnsInSecret(DataTransformer):
    mean_ = 0.0

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        self.mean_ = float(X["distance"].mean())
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(above=X["distance"] - self.mean_)


# 10. concurrency


@breaks("concurrency", "purity", given={"factor": 2.0})
class KeepsItsWorkOnSelf(DataTransformer):
    def __init__(self, factor: float):
        self.factor = factor

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        self.work = X.assign(scaled=X["distance"] * self.factor)
        self.work = self.work.assign(far=self.work["scaled"] > 1000)
        return self.work


_BUFFER: dict[str, Any] = {}


@breaks("concurrency")
class KeepsItsWorkInAGlobal(DataTransformer):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        _BUFFER["distance"] = X["distance"].to_numpy()
        _BUFFER["distance"] = _BUFFER["distance"] * 2
        return X.assign(doubled=_BUFFER.pop("distance"))


@breaks("concurrency", given={"unit": "km"})
class TurnsAParameterForAMoment(DataTransformer):
    def __init__(self, unit: str):
        self.unit = unit

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        before, self.unit = self.unit, "miles"
        result = X.assign(far=X["distance"] * (1.609 if before == "km" else 1.0))
        self.unit = before
        return result
