"""Two pipelines side by side from the command line; production is as it was."""

import json
from pathlib import Path

import pytest

from ml_platform_tests.cli.test_trial import command
from ml_platform_tests.platform import Platform


@pytest.mark.full
def test_a_variant_is_compared_with_its_parent_on_the_same_rows(tmp_path: Path, made: Platform) -> None:
    platform = Platform(tmp_path, seed=made)
    before = {path: path.read_bytes() for path in Path(platform.store.base).glob("heads/**/*.json")}
    variant = platform.folder / "variant.yaml"
    variant.write_text(
        "pipeline: cautious\nextends: pipeline.yaml\nmodels: {boosted: null, logistic: {with: {steps: {classify: {with: {C: 0.01}}}}}}\n"
    )
    pair = (str(platform.folder / "pipeline.yaml"), str(variant))
    done = command(platform, "compare", *pair)
    assert done.returncode == 0, done.stderr
    for word in ("cautious", "AUC", "log loss", "test rows that both have", "95 % interval"):
        assert word in done.stdout
    printed = json.loads(command(platform, "compare", *pair, "--json").stdout)
    rows = platform.report("flight_delays/evaluation").facts["rows_test"]
    assert (printed["rows"], printed["rows_alone"]) == (rows, [0, 0])
    assert printed["pipelines"] == ["flight_delays", "cautious"]
    assert printed["metrics"]["log_loss"][0] == platform.report("flight_delays/evaluation").facts["metrics"]["log_loss"]
    assert {path: path.read_bytes() for path in Path(platform.store.base).glob("heads/**/*.json")} == before


@pytest.mark.full
def test_what_cannot_be_compared_is_refused(tmp_path: Path, made: Platform) -> None:
    platform = Platform(tmp_path, seed=made)
    variant = platform.folder / "variant.yaml"
    variant.write_text(
        "pipeline: delays\nextends: pipeline.yaml\ntask: regression\ntarget: dep_delay\ngates: null\n"
        "models: {boosted: null, logistic: null, mean: {uses: sklearn.dummy.DummyRegressor}}\n"
    )
    done = command(platform, "compare", str(platform.folder / "pipeline.yaml"), str(variant))
    assert done.returncode == 1
    assert "cannot be compared: task is 'binary' and 'regression'" in done.stderr
