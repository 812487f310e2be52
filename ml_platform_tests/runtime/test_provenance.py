"""Every evaluation names the data, the parameters and the code that made it."""

import json

import pytest

from ml_platform.cli import main
from ml_platform.cli.evaluations import last_evaluation
from ml_platform.runtime.provenance import provenance_of
from ml_platform_tests.platform import Platform


def test_an_evaluation_names_data_parameters_code_and_environment(made: Platform) -> None:
    found = provenance_of(made.store, made.store.require("flight_delays/evaluation"))
    months = made.pipeline.features.spans.keys
    expected = {f"lake/{name}[{key}]" for name in ("flights", "weather") for key in months} | {
        "lake/airports",
        "lake/planes",
    }
    assert set(found["data"]) == expected
    assert found["data"]["lake/planes"] == made.store.require("lake/planes").digest
    assert found["parameters"]["flight_delays/boosted"]["made by"]["parameters"]["learning_rate"] == 0.05
    assert (
        found["code"]["flight_delays/calendar"]
        == made.store.require("flight_delays/calendar", "2013-01-01").computation["code"]
    )
    assert {"scikit-learn", "duckdb", "pandas"} <= set(found["libraries"])
    assert found["environment"]["threads"] >= 1
    assert found["split"]["as_of"] == "2014-01-01"


def test_a_value_that_was_reused_names_what_it_would_be_made_of_now(made: Platform) -> None:
    """An upstream that was made again with an equal result stands in the manifests of all that follow."""
    codes = made.store.require("flight_delays/codes", "2013-01-01")
    for label, id_ in codes.inputs.items():
        asset, _, partition = label.removesuffix("]").partition("[")
        assert made.store.version(asset, id_, partition or None) == made.store.require(asset, partition or None)
    assert set(codes.lineage) == {
        "departures",
        "traffic",
        "plausible_weather",
        "route",
        "aircraft",
        "calendar",
        "weather_before",
        "shares",
        "codes",
    }
    assert codes.lineage["shares"]["fitted"] == made.store.require("flight_delays/shares_fitted").digest


def test_dagsters_page_of_the_evaluation_shows_it(made: Platform) -> None:
    import dagster as dg

    event = made.instance.get_latest_materialization_event(dg.AssetKey(["flight_delays", "evaluation"]))
    assert event is not None
    shown = event.asset_materialization.metadata["made_of"].value  # type: ignore[union-attr]
    assert shown == provenance_of(made.store, made.store.require("flight_delays/evaluation"))


def test_the_command_prints_it(
    made: Platform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ML_PLATFORM_ARTIFACTS", made.store.base)
    with pytest.raises(SystemExit):
        main(["evaluation", "flight_delays", "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["made_of"] == last_evaluation("flight_delays", made.store)["made_of"]
    assert printed["data_test"].keys() == {f"flight_delays/codes[2013-{month}-01]" for month in (10, 11, 12)}
