"""A trial from the command line: the score as declared now, production as it was."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from ml_platform.cli.trial import print_trial
from ml_platform_tests.evaluation.examples import evaluation
from ml_platform_tests.platform import Platform, small_yaml


def command(platform: Platform, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "ML_PLATFORM_ARTIFACTS": platform.store.base, "COLUMNS": "120"}
    return subprocess.run(["ml-platform", *arguments], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.full
def test_a_trial_scores_what_is_declared_now_and_compares_it_with_production(tmp_path: Path, made: Platform) -> None:
    platform = Platform(tmp_path, seed=made)
    before = {path: path.read_bytes() for path in Path(platform.store.base).glob("heads/**/*.json")}
    platform.declare(small_yaml(("max_leaf_nodes: 15", "max_leaf_nodes: 4")))
    path = str(platform.folder / "pipeline.yaml")
    done = command(platform, "try", path)
    assert done.returncode == 0, done.stderr
    assert "✓ flight_delays/boosted" in done.stderr
    assert "more were there already, and were reused" in done.stderr
    assert "against the current evaluation: roc_auc" in done.stdout
    assert "production is as it was" in done.stdout
    alone = command(platform, "try", path, "--model", "boosted", "--json")
    printed = json.loads(alone.stdout)
    assert list(printed["models"]) == ["boosted"]
    assert printed["made_of"]["parameters"]["flight_delays/boosted"]["made by"]["parameters"]["max_leaf_nodes"] == 4
    assert {path: path.read_bytes() for path in Path(platform.store.base).glob("heads/**/*.json")} == before


@pytest.mark.full
def test_a_trial_where_nothing_was_ever_made_says_so(tmp_path: Path) -> None:
    platform = Platform(tmp_path)
    done = command(platform, "try", str(platform.folder / "pipeline.yaml"), "--rows", "1400")
    assert done.returncode == 0, done.stderr
    assert "on a sample of about 1,400 rows" in done.stdout
    whole = command(platform, "try", str(platform.folder / "pipeline.yaml"))
    assert "production has no evaluation to compare with" in whole.stdout


def test_an_unknown_model_and_pipeline_are_refused_with_those_that_exist(tmp_path: Path) -> None:
    platform = Platform(tmp_path)
    done = command(platform, "try", str(platform.folder / "pipeline.yaml"), "--model", "boostet")
    assert done.returncode == 1
    assert "error: no model 'boostet': did you mean 'boosted'?" in done.stderr
    done = command(platform, "try", "flight_delay")
    assert "error: no pipeline 'flight_delay': did you mean 'flight_delays'?" in done.stderr


def test_the_trial_of_a_variant_names_the_command_that_puts_it_beside_its_parent(
    capsys: pytest.CaptureFixture[str],
) -> None:
    facts = evaluation(pipeline="never_made").to_json() | {"made_of": {"data": {}, "code": {}}, "report": "r.html"}
    print_trial("mine/variant.yaml", {**facts, "extends": "../parent.yaml"})
    print_trial("variant.yaml", {**facts, "extends": "flight_delays"})
    shown = capsys.readouterr().out
    assert "`ml-platform compare mine/../parent.yaml mine/variant.yaml`" in shown
    assert "`ml-platform compare flight_delays variant.yaml`" in shown
    print_trial("variant.yaml", {**facts, "extends": None}, rows=1400)
    assert "on a sample of about 1,400 rows" in capsys.readouterr().out
