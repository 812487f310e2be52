"""What a transformer is tried on, and that trying leaves no traces."""

import copy
import os
import random
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import StandardScaler

from ml_platform import DataTransformer, check_transformer
from ml_platform.artifacts.objects import write_object
from ml_platform.contract.battery.report import PromiseBroken, Unusable
from ml_platform.errors import ArtifactError
from ml_platform.transformers import AsOfLookup, Calendar
from ml_platform_tests.contract.battery.zoo import BROKEN
from ml_platform_tests.contract.battery.zoo.rows import FLIGHTS, WEATHER
from ml_platform_tests.contract.battery.zoo.sound import SharesABufferUnderALock


class Far(DataTransformer):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(far=X["distance"] > 1000)


class Exits(DataTransformer):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        sys.exit(0)


class ExitsOnOneRow(DataTransformer):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        if len(X) == 1:
            sys.exit(0)
        return X


class HoldsALock(DataTransformer):
    def __init__(self) -> None:
        self._lock = threading.Lock()

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        with self._lock:
            return X.assign(far=X["distance"] > 1000)


class LooseLookup(AsOfLookup):
    def __init__(self, on: str, by: list[str], columns: list[str], note=None):  # type: ignore[no-untyped-def]
        super().__init__(on, by, columns)
        self.note = note


def test_a_parameter_that_takes_anything_is_told_of_a_class_with_other_inputs_too() -> None:
    step = LooseLookup("at", ["origin"], ["temp"])
    report = check_transformer(step, FLIGHTS, weather=WEATHER, promises=["parameters"])
    assert report["parameters"].outcome == "not declared"
    assert report["parameters"].reasons[0].why.startswith("parameter 'note' takes anything until data are there")


@pytest.mark.parametrize(
    ("transformer", "given", "message"),
    [
        (Far, {"examples": FLIGHTS}, "Far is a class; expected an object: Far"),
        ("text", {"examples": FLIGHTS}, "str has no transform; expected a transformer"),
        (Far(), {}, "no examples, and Far declares no input_schema to draw them from"),
        (Far(), {"examples": 5}, "expected a DataFrame, found int"),
        (Far(), {"examples": FLIGHTS[:0]}, "expected rows and columns, found 0 of 7"),
        (Far(), {"examples": pd.concat([FLIGHTS, FLIGHTS], axis=1)}, "column flight, .* stands twice"),
        (Far(), {"examples": FLIGHTS, "y": [1, 0]}, "80 rows of examples and 2 of y"),
        (Far(), {"examples": FLIGHTS, "weather": WEATHER}, "Far takes one input, found examples of weather too"),
        (Far(), {"examples": FLIGHTS[["at"]]}, "Far, asked to transform with the examples, raises KeyError: 'distance'"),
        (Calendar("at"), {"examples": FLIGHTS.assign(at="noon")}, "do not fit the input schema of Calendar: column 'at'"),
        (StandardScaler(), {"examples": FLIGHTS}, "StandardScaler, fitted with the examples, raises"),
        (Exits(), {"examples": FLIGHTS}, "Exits, asked to transform with the examples, raises RuntimeError: it calls sys.exit"),
    ],
)  # fmt: skip
def test_what_cannot_be_tried_is_refused(transformer: Any, given: dict[str, Any], message: str) -> None:
    with pytest.raises(Unusable, match=message):
        check_transformer(transformer, **given)


def test_an_unknown_promise_is_refused_with_the_likely_one() -> None:
    with pytest.raises(ValueError, match="no promise 'row_wis': did you mean 'row_wise'"):
        check_transformer(Far(), FLIGHTS, promises=["row_wis"])


def test_leaving_the_process_for_some_rows_is_a_broken_promise() -> None:
    report = check_transformer(ExitsOnOneRow(), FLIGHTS, promises=["row_wise"])
    assert report.broken == ["row_wise"]
    with pytest.raises(PromiseBroken, match=r"and can in a batch: RuntimeError: it calls sys\.exit"):
        report.require_all()


def test_what_no_other_process_can_have_is_told_and_the_rest_is_tried() -> None:
    report = check_transformer(HoldsALock(), FLIGHTS)
    assert "parameters" in report.broken
    assert report["rows"].outcome == "kept"


def test_a_slice_of_texts_is_as_good_as_the_whole() -> None:
    long = pd.concat([FLIGHTS] * 3, ignore_index=True)
    assert check_transformer(Far(), long[20:70], promises=["determinism"]).broken == []


def test_the_smallest_counterexample_is_told() -> None:
    specimen = BROKEN["AveragesTheGroupOnline"]
    report = check_transformer(specimen.build(), FLIGHTS, promises=["row_wise"])
    (finding,) = report["row_wise"].reasons
    assert "than in a batch of 2" in finding.why
    assert "column 'usual'" in finding.proof


def test_the_store_and_the_battery_refuse_by_the_same_code(tmp_path: Path) -> None:
    transformer = BROKEN["LearnsASeries"].build()
    report = check_transformer(transformer, FLIGHTS, promises=["safe_persistence"])
    with pytest.raises(ArtifactError) as refused:
        write_object(tmp_path, transformer.fit(FLIGHTS))
    assert report["safe_persistence"].reasons[0].why == str(refused.value)
    assert "attribute usual_ (pandas.Series)" in str(refused.value)


@pytest.mark.full
def test_the_caller_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_transformer(SharesABufferUnderALock(), FLIGHTS)  # imports what it needs, some of which sets variables
    nested = FLIGHTS.assign(tags=[["b", "a"] for _ in range(80)])
    frames = nested.copy(), WEATHER.copy()
    step = AsOfLookup("at", ["origin"], ["temp"])
    before = dict(os.environ), random.getstate(), np.random.get_state()[1].tolist(), copy.deepcopy(step.get_params())
    check_transformer(step, nested, weather=WEATHER)
    check_transformer(SharesABufferUnderALock(), nested)
    after = dict(os.environ), random.getstate(), np.random.get_state()[1].tolist(), step.get_params()
    assert before == after
    pd.testing.assert_frame_equal(nested, frames[0])
    pd.testing.assert_frame_equal(WEATHER, frames[1])
    assert list(tmp_path.iterdir()) == []
    assert sys.gettrace() is None or "pydevd" in str(sys.gettrace())
