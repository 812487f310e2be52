"""Steps that look back in their own rows."""

from pathlib import Path

import pandas as pd
import pytest

from ml_platform import Pipeline, check_transformer
from ml_platform.errors import DataError, SpecError
from ml_platform.pipeline import load_pipeline
from ml_platform_tests.planted import DelaysBefore
from ml_platform_tests.platform import Platform, small_yaml

STEP = """  before:
    stage: features
    inputs: [departures]
    uses: ml_platform_tests.planted.DelaysBefore

  traffic:
"""


@pytest.fixture(scope="module")
def platform(made: Platform, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    folder = tmp_path_factory.mktemp("lookback")
    found = Platform(folder, small_yaml(("  traffic:\n", STEP)), seed=made)
    assert found.run("flight_delays/before").success
    return found


@pytest.mark.full
def test_partitions_get_the_rows_before_them_so_that_they_answer_as_the_whole(platform: Platform) -> None:
    rows = platform.frames("flight_delays/departures").read_all()
    whole = DelaysBefore().transform(rows.sort_values("time_hour", ignore_index=True))
    parts = platform.frames("flight_delays/before").read_all()
    key = ["time_hour", "carrier", "flight"]
    pd.testing.assert_frame_equal(parts.sort_values(key, ignore_index=True), whole.sort_values(key, ignore_index=True))
    alone = DelaysBefore().transform(rows[rows["month"] == 5].sort_values("time_hour", ignore_index=True))
    assert alone["delays_before"].isna().sum() > parts.loc[parts["month"] == 5, "delays_before"].isna().sum()


@pytest.mark.full
def test_a_notebook_takes_the_same_values_at_the_same_addresses(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ML_PLATFORM_ARTIFACTS", platform.store.base)
    pipeline = Pipeline.load(platform.folder / "pipeline.yaml").upto("before")
    sources = pipeline.sources()
    frame = pipeline.fit(sources).transform(sources)
    pd.testing.assert_frame_equal(frame, platform.frames("flight_delays/before").read_all())


def test_the_battery_proves_it(made: Platform) -> None:
    rows = made.frames("flight_delays/departures").read_all()
    report = check_transformer(DelaysBefore(), rows)
    assert report.broken == [], report
    assert report["row_wise"].outcome == report["partition_invariance"].outcome == "kept"


def test_rows_by_themselves_are_refused_as_they_have_no_history(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ML_PLATFORM_ARTIFACTS", platform.store.base)
    pipeline = Pipeline.load(platform.folder / "pipeline.yaml").upto("before").after("departures")
    rows = platform.frames("flight_delays/departures").read("2013-05-01")
    with pytest.raises(
        DataError, match="step 'before' looks 40 days, 0:00:00 back in its own rows, which rows by them"
    ):
        pipeline.fit(rows, rows["late"])


@pytest.mark.full
def test_rows_in_no_order_are_refused_when_definitions_load(tmp_path: Path) -> None:
    text = small_yaml(("  traffic:\n", STEP.replace("[departures]", "[airports]")))
    (tmp_path / "pipeline.yaml").write_text(text)
    with pytest.raises(SpecError, match="DelaysBefore: no column 'time_hour', which as_of names"):
        load_pipeline(tmp_path / "pipeline.yaml")
