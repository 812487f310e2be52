"""Transformers that keep all their promises: the battery must say so."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectKBest
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, OneHotEncoder, OrdinalEncoder, StandardScaler

from ml_platform import DataTransformer
from ml_platform.schema import Column, Schema
from ml_platform.transformers import SQL, AsOfLookup, Calendar, Frequencies
from ml_platform_tests.contract.battery.zoo.rows import FLIGHTS, LATE, WEATHER


@dataclass(frozen=True)
class Sound:
    """A transformer with what it is tried on."""

    transformer: Any
    X: pd.DataFrame | None = field(default_factory=lambda: FLIGHTS)
    y: Any = None
    side: Mapping[str, pd.DataFrame] = field(default_factory=dict)


class UsualDelay(DataTransformer):
    """Learns a mean for each origin, as a dict."""

    learns = True
    depends_on_threads = False

    def __init__(self, by: str = "origin"):
        self.by = by

    @property
    def input_schema(self) -> Schema:
        return Schema.of(**{self.by: "string?", "delay": "number"})

    def output_schema(self, schema: Schema, **side: Schema) -> Schema:
        return schema.with_columns([Column("usual", "number")])

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        self.usual_ = {str(key): float(value) for key, value in X.groupby(self.by)["delay"].mean().items()}
        self.overall_ = float(X["delay"].mean())
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(usual=X[self.by].map(self.usual_).astype("float64").fillna(self.overall_))


class RecentDelay(DataTransformer):
    """Looks back as far as it says, by origin."""

    row_wise = False
    as_of = "at"

    def __init__(self, hours: int = 6):
        self.hours = hours

    @property
    def lookback(self) -> timedelta:
        return timedelta(hours=self.hours)

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        recent = np.empty(len(X))
        for places in X.groupby("origin").indices.values():
            recent[places] = X.iloc[places].rolling(f"{self.hours}h", on="at")["delay"].mean()
        return X.assign(recent=recent)


class PositiveDelays(DataTransformer):
    """Leaves rows out, each for its own sake."""

    rows = "filter"

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X[X["delay"] > 0]


class AsText(DataTransformer):
    """Changes types, and no order."""

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(flight=X["flight"].astype("str"), distance=X["distance"].astype("float32"))


class BusyHours(DataTransformer):
    """Counts rows of the same time."""

    row_wise = False
    as_of = "at"

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(busy=X.groupby("at")["flight"].transform("size"))


class HourEnds(DataTransformer):
    """Counts by an hour that is known when it ends."""

    rows = "aggregate"
    as_of = "at"

    def __init__(self, key: Sequence[str] = ("origin", "at")):
        self.key = key

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        hours = X.assign(at=X["at"].dt.ceil("h"))
        return hours.groupby(list(self.key), as_index=False).agg(n=("flight", "size"))


class Departures(DataTransformer):
    """Counts by a key."""

    rows = "aggregate"
    as_of = "at"

    def __init__(self, key: Sequence[str] = ("origin", "at")):
        self.key = key

    @property
    def input_schema(self) -> Schema:
        return Schema.of(origin="string", at="timestamp", flight="integer")

    def output_schema(self, schema: Schema, **side: Schema) -> Schema:
        return Schema((schema["origin"], schema["at"], Column("departures", "integer")))

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return (
            X.groupby(list(self.key), as_index=False).agg(departures=("flight", "size")).astype({"departures": "int64"})
        )


class SeededProjection(DataTransformer):
    """Draws from a generator of its own."""

    learns = True

    def __init__(self, random_state: int = 0):
        self.random_state = random_state

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        self.weights_ = np.random.default_rng(self.random_state).normal(size=2)
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(mixed=X["distance"] * self.weights_[0] + X["delay"] * self.weights_[1])


_LOCK = threading.Lock()
_SCRATCH: dict[str, Any] = {}


class SharesABufferUnderALock(DataTransformer):
    """Uses a global, one thread at a time."""

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        with _LOCK:
            _SCRATCH["distance"] = X["distance"].to_numpy()
            doubled = _SCRATCH.pop("distance") * 2
        return X.assign(doubled=doubled)


class SortedSet(DataTransformer):
    """Numbers a set in the order of its values."""

    learns = True

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        self.codes_ = {value: code for code, value in enumerate(sorted(set(X["dest"])))}
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(dest_code=X["dest"].map(self.codes_).fillna(-1).astype("int64"))


NUMBERS = FLIGHTS[["distance", "seats", "delay"]]
FULL = FLIGHTS[["distance", "delay"]]
ODD = FLIGHTS.assign(
    at=FLIGHTS["at"].dt.as_unit("ns"),
    count=pd.array([None if place % 3 else place for place in range(80)], dtype="Int64"),
    kind=FLIGHTS["origin"].astype("category"),
    tags=[["b", "a"]] * 80,
    note=pd.Series(["x", None] * 40, dtype="object"),
)
WIDE = pd.DataFrame(np.random.default_rng(1).normal(size=(80, 30))).rename(columns=str)
TEXT = FLIGHTS[["origin", "dest"]]

SOUND: dict[str, Sound] = {
    "Calendar": Sound(Calendar("at")),
    "Calendar among odd columns": Sound(Calendar("at"), ODD),
    "Calendar on one row": Sound(Calendar("at"), FLIGHTS[5:6]),
    "Calendar, drawn": Sound(Calendar("at"), None),
    "Frequencies": Sound(Frequencies(["dest", "origin"])),
    "AsOfLookup": Sound(AsOfLookup("at", ["origin"], ["temp"], 1, 3), side={"weather": WEATHER}),
    "SQL": Sound(SQL("SELECT flight, delay > 15 AS late FROM f WHERE delay > 0", ["flight"])),
    "SQL that aggregates": Sound(
        SQL('SELECT origin, "at", count(*) AS n FROM f GROUP BY ALL', ["origin", "at"], as_of="at")
    ),
    "UsualDelay": Sound(UsualDelay()),
    "UsualDelay, drawn": Sound(UsualDelay(), None),
    "RecentDelay": Sound(RecentDelay()),
    "AsText": Sound(AsText()),
    "BusyHours": Sound(BusyHours(), FLIGHTS.assign(at=FLIGHTS["at"].dt.floor("h"))),
    "HourEnds": Sound(HourEnds(), FLIGHTS.assign(at=FLIGHTS["at"].dt.floor("h"))),
    "PositiveDelays": Sound(PositiveDelays()),
    "Departures": Sound(Departures()),
    "SeededProjection": Sound(SeededProjection(3)),
    "SharesABufferUnderALock": Sound(SharesABufferUnderALock()),
    "SortedSet": Sound(SortedSet()),
    "StandardScaler": Sound(StandardScaler(), FULL),
    "PCA": Sound(PCA(4, random_state=0), WIDE),
    "SimpleImputer": Sound(SimpleImputer(strategy="median"), NUMBERS),
    "KNNImputer": Sound(KNNImputer(n_neighbors=3), NUMBERS),
    "OneHotEncoder": Sound(OneHotEncoder(sparse_output=False, handle_unknown="ignore"), TEXT),
    "OrdinalEncoder": Sound(OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), TEXT),
    "Normalizer": Sound(Normalizer(), FULL),
    "SelectKBest": Sound(SelectKBest(k=1), FULL, LATE),
    "FunctionTransformer": Sound(FunctionTransformer(np.log1p), FLIGHTS[["distance"]]),
    "a pipeline": Sound(make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS),
    "a column transformer": Sound(
        ColumnTransformer(
            [
                ("text", OneHotEncoder(sparse_output=False, handle_unknown="ignore"), ["dest"]),
                ("number", StandardScaler(), ["delay"]),
            ]
        ),
        FLIGHTS,
    ),
}
