"""The README's command on the real year: what it prints, what it leaves, what the second run does."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from ml_platform.artifacts import ArtifactStore
from ml_platform_tests.repository import project_root


def ml_platform(home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "DAGSTER_HOME": str(home), "COLUMNS": "120"}
    return subprocess.run(
        ["ml-platform", *arguments], cwd=project_root(), env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def home(real_year: Path) -> Path:
    return real_year / "home"


@pytest.fixture(scope="module")
def demo(real_year: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.CompletedProcess(*json.loads((real_year / "printed.json").read_text()))


@pytest.fixture(scope="module")
def printed(demo: "subprocess.CompletedProcess[str]", home: Path) -> dict[str, object]:
    done = ml_platform(home, "evaluation", "flight_delays", "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.full
def test_it_exits_with_0_and_shows_each_asset_as_it_is_done(demo: "subprocess.CompletedProcess[str]") -> None:
    assert demo.returncode == 0, demo.stdout + demo.stderr
    done = re.findall(r"✓ +(\d+)/21 (\S+)", demo.stdout)
    assert [int(number) for number, _ in done] == list(range(1, 22))
    assert dict(done)["1"].startswith("lake/")
    assert "328,521 rows" in demo.stdout
    assert "✓ gate  no_leakage_is_suspected" in demo.stdout
    assert "Traceback" not in demo.stdout + demo.stderr
    assert "Warning" not in demo.stdout + demo.stderr


@pytest.mark.full
def test_it_ends_with_a_table_and_the_reports_path(demo: "subprocess.CompletedProcess[str]") -> None:
    table = demo.stdout[demo.stdout.index("judged on the test rows") :]
    for word in ("metric", "value", "gate", "verdict", "roc_auc", "log_loss", "≥ 0.695", "≤ 0.455", "passed"):
        assert word in table
    path = Path(re.search(r"report: (\S+)", table)[1])
    assert path.read_text().startswith("<!doctype html>")


@pytest.mark.full
def test_the_evaluation_has_the_published_rows_and_passes_its_gates(printed: dict[str, object]) -> None:
    assert printed["rows_test"] == 82_798
    assert printed["rows_train"] == 245_723
    assert printed["best"] in ("boosted", "logistic")
    for model in printed["models"].values():
        assert {"roc_auc", "log_loss"} <= set(model["metrics"])
        assert model["rows_train"] == 245_723
    assert 0.695 <= printed["metrics"]["roc_auc"] <= 0.75
    assert printed["metrics"]["log_loss"] <= 0.455
    assert printed["gates_passed"] is True
    assert printed["split"] == {"as_of": "2014-01-01", "validation_from": "2013-09-01", "test_from": "2013-10-01"}


@pytest.mark.full
def test_twelve_partitions_were_made_in_one_run(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ArtifactStore(str(home / "artifacts"))
    assert len(store.partitions("flight_delays/codes")) == 12
    import dagster as dg

    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        runs = instance.get_runs()
        assert [run.status.value for run in runs] == ["SUCCESS"]
        assert len(instance.get_materialized_partitions(dg.AssetKey(["flight_delays", "codes"]))) == 12


def test_an_unknown_pipeline_is_refused_with_those_that_exist(tmp_path: Path) -> None:
    done = ml_platform(tmp_path, "run", "flight_delay")
    assert done.returncode == 1
    assert "error: no pipeline 'flight_delay': did you mean 'flight_delays'?" in done.stderr
    done = ml_platform(tmp_path, "evaluation", "flight_delay")
    assert done.returncode == 1
    assert "flight_delay: no evaluation in" in done.stderr


def test_a_bad_as_of_is_refused(tmp_path: Path) -> None:
    done = ml_platform(tmp_path, "run", "flight_delays", "--as-of", "someday")
    assert done.returncode != 0
    assert "someday" in done.stderr


def test_help_says_what_there_is(tmp_path: Path) -> None:
    done = ml_platform(tmp_path, "--help")
    assert done.returncode == 0
    assert "evaluation" in done.stdout
    assert "run" in done.stdout
