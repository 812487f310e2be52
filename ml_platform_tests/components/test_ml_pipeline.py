"""The pipeline as assets: what they say of themselves, and what happens when they are made."""

from dataclasses import replace
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from ml_platform.definitions import defs
from ml_platform.errors import PlatformError
from ml_platform.runtime import RunContext, materialize, nodes_of
from ml_platform.runtime.split import split_in
from ml_platform_tests import lake
from ml_platform_tests.platform import Platform, failure_of, small_yaml

SNAPSHOT = Path(__file__).with_name("asset_graph.txt")


def drawn_graph() -> str:
    """Draws the project's assets as text: each with what it depends on."""
    graph = defs().resolve_asset_graph()
    lines = []
    for node in sorted(graph.asset_nodes, key=lambda node: node.key.to_user_string()):
        parents = ", ".join(sorted(key.to_user_string() for key in node.parent_keys))
        kind = "monthly" if node.partitions_def else "whole"
        place = f"{node.group_name}: {node.tags['ml_platform/stage']}, {kind}"
        lines.append(f"{node.key.to_user_string()} [{place}]{' <- ' if parents else ''}{parents}")
    checks = sorted(f"{key.name} checks {key.asset_key.to_user_string()}" for key in graph.asset_check_keys)
    return "\n".join([*lines, *checks]) + "\n"


def test_the_asset_graph_is_the_committed_one() -> None:
    """A changed graph is a visible diff: `python -m ml_platform_tests.components.test_ml_pipeline` writes it."""
    assert drawn_graph() == SNAPSHOT.read_text()


def test_every_asset_says_what_it_is() -> None:
    for node in defs().resolve_asset_graph().asset_nodes:
        name = node.key.to_user_string()
        assert node.description, name
        assert node.owners, name
        assert node.kinds, name
        assert node.tags["ml_platform/stage"] in {*node.kinds, "source"}, name
        assert node.backfill_policy.policy_type.value == "SINGLE_RUN", name
        if "parquet" in node.kinds:
            assert "One row: " in node.description, name
            assert "Key: " in node.description, name


def test_column_schemas_are_known_before_anything_runs() -> None:
    graph = defs().resolve_asset_graph()
    schema = graph.get(dg.AssetKey(["flight_delays", "weather_before"])).metadata["dagster/column_schema"]
    assert {column.name: column.type for column in schema.columns}["temp"] == "number"
    schema = graph.get(dg.AssetKey(["lake", "flights"])).metadata["dagster/column_schema"]
    assert len(schema.columns) == 19


def test_a_whole_run_makes_everything_and_shows_its_figures(made: Platform) -> None:
    evaluation = made.report("flight_delays/evaluation").facts
    departed = {k: f["dep_delay"].notna().sum() for k, f in lake.FLIGHTS.read(lake.FLIGHTS.partitions.keys).items()}
    rows = list(departed.values())
    assert (evaluation["rows_train"], evaluation["rows_test"]) == (sum(rows[:9]), sum(rows[9:]))
    event = made.instance.get_latest_materialization_event(dg.AssetKey(["flight_delays", "evaluation"]))
    metadata = event.asset_materialization.metadata
    for picture in ("roc", "calibration", "confusion", "by_month", "by_origin"):
        assert metadata[picture].value.startswith(f"![{picture}](data:image/png;base64,")
        assert len(metadata[picture].value) < 100_000
    assert metadata["roc_auc"].value == evaluation["metrics"]["roc_auc"]


def test_frames_show_rows_sizes_and_columns_by_partition(made: Platform) -> None:
    records = made.instance.fetch_materializations(dg.AssetKey(["flight_delays", "codes"]), limit=100).records
    by_partition = {record.partition_key: record.asset_materialization.metadata for record in records}
    assert sorted(by_partition) == made.pipeline.features.spans.keys
    for key, metadata in by_partition.items():
        frame = made.frames("flight_delays/codes").read(key)
        assert metadata["dagster/partition_row_count"].value == len(frame)
        assert metadata["size_bytes"].value > 0
        assert [column.name for column in metadata["dagster/column_schema"].value.columns] == list(frame.columns)


def test_the_declared_schema_is_what_comes_out(made: Platform) -> None:
    for step in made.pipeline.steps.values():
        frame = made.frames(step.asset).only(["2013-03-01"]).read_all()
        assert step.schema.violations(frame) == [], step.name


def test_fitted_steps_saw_training_rows_only(made: Platform) -> None:
    """January to August: the shares are those of these months, and September on has no say."""
    artifact = made.store.require("flight_delays/shares_fitted")
    keys = [label.split("[")[1][:-1] for label in artifact.inputs]
    assert keys == made.pipeline.features.spans.keys[:8]
    assert artifact.facts["split"]["validation_from"] == "2013-09-01"
    frames = made.frames("flight_delays/shares")
    train = frames.only(keys).read_all()
    share = train["dest"].value_counts(normalize=True)
    december = frames.read("2013-12-01")
    np.testing.assert_allclose(december["dest_share"], december["dest"].map(share).fillna(0.0))


def test_the_final_fit_includes_the_validation_month_and_no_test_month(made: Platform) -> None:
    for model in ("logistic", "boosted"):
        artifact = made.store.require(f"flight_delays/{model}")
        keys = [label.split("[")[1][:-1] for label in artifact.inputs]
        assert keys == made.pipeline.features.spans.keys[:9]
        rows = made.frames("flight_delays/codes").only(keys).read_all()
        assert artifact.facts["rows_train"] == len(rows)


def test_the_best_model_has_the_lowest_log_loss_on_validation(made: Platform) -> None:
    selection = made.report("flight_delays/selection").facts
    losses = {name: scores["log_loss"] for name, scores in selection["validation"].items()}
    assert selection["best"] == min(losses, key=losses.get)
    assert made.report("flight_delays/evaluation").facts["best"] == selection["best"]


def test_a_lookback_reads_the_month_before(made: Platform) -> None:
    step = made.pipeline.steps["weather_before"]
    february = made.store.require(step.asset, "2013-02-01")
    weather = [label for label in february.inputs if "plausible_weather" in label]
    assert weather == ["flight_delays/plausible_weather[2013-01-01]", "flight_delays/plausible_weather[2013-02-01]"]


def test_one_month_of_one_source_and_what_depends_on_it_gives_the_same_artifacts(
    tmp_path: Path, made: Platform
) -> None:
    """Runs split as the UI splits them: the month's frames, then what is whole, then the month again."""
    platform = Platform(tmp_path, seed=made)
    before = platform.digests()
    steps = platform.pipeline.steps
    monthly = ["lake/weather", *(steps[name].asset for name in ("plausible_weather", "weather_before"))]
    whole = [steps["shares"].fitted_asset, "flight_delays/boosted", "flight_delays/logistic", "flight_delays/selection"]
    for selection in (monthly, whole[:1], [steps["shares"].asset], [*whole[1:], "flight_delays/evaluation"]):
        assert platform.run(*selection, partitions=("2013-05-01", "2013-05-01")).success, selection
    assert platform.digests() == before


@pytest.mark.full
def test_partition_by_partition_equals_all_at_once(tmp_path: Path, made: Platform) -> None:
    platform = Platform(tmp_path)
    steps = platform.pipeline.steps
    monthly = ["lake/flights", "lake/weather", "lake/planes", "lake/airports"]
    monthly += [steps[name].asset for name in ("departures", "traffic", "plausible_weather")]
    monthly += [steps[name].asset for name in ("route", "aircraft", "calendar")]
    for key in reversed(platform.pipeline.features.spans.keys):
        assert platform.run(*monthly, partitions=(key, key)).success
    rest = [key.to_user_string() for key in platform.definitions.resolve_all_asset_keys()]
    assert platform.run(*(asset for asset in rest if asset not in monthly)).success
    assert platform.digests() == made.digests()


def test_a_missing_month_is_refused_by_name(tmp_path: Path) -> None:
    platform = Platform(tmp_path)
    result = platform.run("flight_delays/departures", partitions=("2013-05-01", "2013-05-01"))
    assert "lake/flights: no partition 2013-05-01; materialize" in failure_of(result)


@pytest.mark.full
def test_an_as_of_for_the_run_moves_the_split_and_stands_in_the_evaluation(tmp_path: Path) -> None:
    platform = Platform(tmp_path)
    assert platform.run(as_of="2013-09-01").success
    evaluation = platform.report("flight_delays/evaluation").facts
    assert evaluation["split"] == {"as_of": "2013-09-01", "validation_from": "2013-05-01", "test_from": "2013-06-01"}
    assert [row["value"] for row in evaluation["by"]["month"]] == ["6", "7", "8"]


def test_a_model_refuses_features_that_were_fitted_for_another_split(tmp_path: Path, made: Platform) -> None:
    platform = Platform(tmp_path, seed=made)
    result = platform.run("flight_delays/boosted", as_of="2013-09-01")
    assert "went through flight_delays/codes_fitted, fitted for" in failure_of(result)
    assert "materialize flight_delays/codes_fitted and flight_delays/codes again" in failure_of(result)


def test_an_evaluation_for_another_split_than_the_models_is_refused(tmp_path: Path, made: Platform) -> None:
    """Else rows that the models were trained on would be scored as test."""
    platform = Platform(tmp_path, seed=made)
    before = platform.digests()
    result = platform.run("flight_delays/evaluation", as_of="2013-09-01")
    assert "the models were trained for" in failure_of(result)
    assert platform.digests() == before


def test_a_gate_that_was_tightened_binds_the_approval_at_once(tmp_path: Path, made: Platform) -> None:
    platform = Platform(tmp_path, seed=made)
    platform.declare(small_yaml(("at_least: 0.4", "at_least: 0.9")))
    assert "roc_auc_is_high_enough" in failure_of(platform.run("flight_delays/approved"))


@pytest.mark.full
def test_a_corrected_month_reaches_everything_that_depends_on_it(tmp_path: Path, made: Platform) -> None:
    """The month down to the fitted step, then its frames for all months: models refuse a mixture in between."""
    platform = Platform(tmp_path, seed=made)
    before = platform.digests()
    corrected = tmp_path / "corrected"
    corrected.mkdir()
    lines = lake.FLIGHTS.path.read_text().splitlines(keepends=True)
    dropped = next(number for number, line in enumerate(lines) if line.startswith("2013,5,"))
    (corrected / "flights.csv").write_text("".join(lines[:dropped] + lines[dropped + 1 :]))
    platform.tables = [replace(t, folder=corrected) if t.name == "flights" else t for t in lake.TABLES]
    assets = [key.to_user_string() for key in platform.definitions.resolve_all_asset_keys()]
    result = platform.run(*assets, partitions=("2013-05-01", "2013-05-01"))
    assert "went through different versions of" in failure_of(result)
    assert platform.digests()["flight_delays/approved"] == before["flight_delays/approved"]
    assert platform.run().success
    after = platform.digests()
    assert after["lake/flights[2013-04-01]"] == before["lake/flights[2013-04-01]"]
    assert after["lake/flights[2013-05-01]"] != before["lake/flights[2013-05-01]"]
    assert after["flight_delays/boosted"] != before["flight_delays/boosted"]


def test_a_bad_source_fails_its_asset_and_leaves_what_was_there(tmp_path: Path, made: Platform) -> None:
    platform = Platform(tmp_path, seed=made)
    before = platform.digests()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "weather.csv").write_text(lake.WEATHER.path.read_text().replace("humid,", "humidity,", 1))
    platform.tables = [replace(t, folder=broken) if t.name == "weather" else t for t in lake.TABLES]
    result = platform.run()
    assert "weather.csv: no column 'humid' in the header (line 1)" in failure_of(result)
    failed = {event.step_key for event in result.all_events if event.is_step_failure}
    assert failed == {"lake__weather"}
    unaffected = ("lake/", "flight_delays/departures", "flight_delays/traffic", "flight_delays/route")
    after = platform.digests()
    assert {k: v for k, v in after.items() if not k.startswith(unaffected)} == {
        k: v for k, v in before.items() if not k.startswith(unaffected)
    }
    assert after == before


class TestGates:
    """A gate that fails stops the approval, in one run and across several."""

    LEAK = ("    - minute_of_day\n", "    - minute_of_day\n    - dep_time\n    - dep_delay\n")

    def approved(self, platform: Platform) -> dict[str, str]:
        return {k: v for k, v in platform.digests().items() if "approved" in k or "predictions" in k}

    def test_in_one_run(self, tmp_path: Path, made: Platform) -> None:
        platform = Platform(tmp_path, seed=made)
        before = self.approved(platform)
        assert len(before) == 13
        platform.declare(small_yaml(self.LEAK))
        result = platform.run()
        assert not result.success
        checks = {e.check_name: e.passed for e in result.get_asset_check_evaluations()}
        assert checks == {
            "roc_auc_is_high_enough": True,
            "log_loss_is_low_enough": True,
            "no_leakage_is_suspected": False,
        }
        assert platform.report("flight_delays/evaluation").facts["metrics"]["roc_auc"] > 0.85
        assert self.approved(platform) == before

    @pytest.mark.full
    def test_in_a_run_of_the_approval_alone(self, tmp_path: Path, made: Platform) -> None:
        """Blocking checks hold inside one run; the approval reads the evaluation that is there."""
        platform = Platform(tmp_path, seed=made)
        before = self.approved(platform)
        platform.declare(small_yaml(self.LEAK))
        platform.run()
        result = platform.run("flight_delays/approved", "flight_delays/predictions")
        assert not result.success
        assert "GateError: model" in failure_of(result)
        assert "no_leakage_is_suspected: roc_auc is" in failure_of(result)
        assert "look for a column from after departure" in failure_of(result)
        assert self.approved(platform) == before

    @pytest.mark.full
    def test_predictions_are_made_with_the_approved_models_own_features(self, tmp_path: Path, made: Platform) -> None:
        """A refused experiment leaves another list of features in the YAML; the approved model keeps its own."""
        platform = Platform(tmp_path, seed=made)
        before = self.approved(platform)
        platform.declare(small_yaml(self.LEAK))
        assert platform.run("flight_delays/predictions").success
        assert self.approved(platform) == before
        renamed = "renamed" if platform.report("flight_delays/approved").facts["model"] == "boosted" else "boosted"
        platform.declare(small_yaml(("  boosted:\n", f"  {renamed}:\n"), ("  logistic:\n", "  linear:\n")))
        assert "is no longer in the pipeline" in failure_of(platform.run("flight_delays/predictions"))

    @pytest.mark.full
    def test_predictions_and_evaluation_refuse_features_of_other_fitted_steps(
        self, tmp_path: Path, made: Platform
    ) -> None:
        platform = Platform(tmp_path, seed=made)
        fitted = [platform.pipeline.steps[name].fitted_asset for name in ("shares", "codes")]
        frames = [platform.pipeline.steps[name].asset for name in ("shares", "codes")]
        assert platform.run(fitted[0], as_of="2013-10-01").success
        assert platform.run(frames[0]).success
        assert platform.run(fitted[1], as_of="2013-10-01").success
        assert platform.run(frames[1]).success
        other = "went through other versions of codes, shares than flight_delays/"
        assert other in failure_of(platform.run("flight_delays/predictions"))
        assert other in failure_of(platform.run("flight_delays/evaluation"))


def test_partitions_made_with_different_fitted_steps_are_not_mixed(tmp_path: Path, made: Platform) -> None:
    platform = Platform(tmp_path, seed=made)
    assert platform.run("flight_delays/shares_fitted", as_of="2013-10-01").success
    march = ("2013-03-01", "2013-03-01")
    result = platform.run("flight_delays/shares", "flight_delays/codes", partitions=march)
    mixture = "went through different versions of step 'shares' (code "
    assert (
        f"flight_delays/codes: flight_delays/codes_fitted and flight_delays/shares[2013-03-01] {mixture}"
        in failure_of(result)
    )
    result = platform.run("flight_delays/codes_fitted")
    assert mixture in failure_of(result)
    assert "materialize all partitions of flight_delays/shares again" in failure_of(result)


def test_a_column_that_is_missing_at_run_time_is_refused_before_any_work(tmp_path: Path) -> None:
    """The frames that are there need not be those that were declared; the step looks before it works."""
    platform = Platform(tmp_path, small_yaml())
    assert platform.run("lake/flights", "flight_delays/departures").success
    node = nodes_of(platform.pipeline)["flight_delays/calendar"]
    run = RunContext(
        platform.store, pipeline=platform.pipeline, resolve_split=lambda: split_in(platform.pipeline, platform.store)
    )
    with pytest.raises(PlatformError, match="flight_delays/calendar: Calendar: no column 'scheduled'"):
        next(materialize(run, node, {"aircraft": platform.frames("lake/flights")}, ["2013-01-01"]))


if __name__ == "__main__":
    SNAPSHOT.write_text(drawn_graph())
