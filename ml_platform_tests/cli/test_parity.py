"""The notebook and Dagster make the same, and where they do not, the first difference is named."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from ml_platform.cli.parity import Parity, run_parity
from ml_platform_tests.platform import small_yaml
from ml_platform_tests.repository import project_root

A_MONTH = 27_000  # rows of flights, spread over the year
A_QUARTER = (
    ("ml_platform_tests.lake.", "ml_platform_tests.lake.quarter."),
    ("test: 3 months", "test: 1 month"),
)  # a planted difference is the same in each month


@pytest.mark.full
def test_a_months_rows_of_the_real_year_are_equal_bytes(tmp_path: Path) -> None:
    environment = {**os.environ, "DAGSTER_HOME": str(tmp_path)}
    command = ["ml-platform", "parity", "flight_delays", "--rows", str(A_MONTH), "--json"]
    done = subprocess.run(command, cwd=project_root(), env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["equal"] is True
    assert found["first_difference"] is None
    assert len(found["compared"]) == 21
    assert found["compared"]["flight_delays/codes"] == 12
    assert found["predictions"] > 26_000
    one, other = found["environments"].values()
    assert one["threads"] == other["threads"]
    assert one["libraries"] == other["libraries"]
    assert {"scikit-learn", "duckdb", "pandas", "python"} <= set(one["libraries"])
    assert list(tmp_path.iterdir()) == [], "a comparison leaves production's store alone"


def compared(folder: Path, planted: dict[str, str], *edits: tuple[str, str]) -> Parity:
    path = folder / "pipeline.yaml"
    path.write_text(small_yaml(*A_QUARTER, *edits))
    return run_parity(str(path), planted={"dagster": planted})


@pytest.mark.full
def test_rows_in_another_order_are_found_at_their_step(tmp_path: Path) -> None:
    unsorted = (
        "stage: preprocessing\n    description: Hourly weather",
        "stage: preprocessing\n    description: Any weather",
    )
    edit = (
        "inputs: [weather]\n    uses: ml_platform.transformers.SQL",
        "inputs: [weather]\n    uses: ml_platform_tests.planted.UnsortedSQL",
    )
    found = compared(tmp_path, {"PLANTED_ORDER": "1"}, unsorted, edit).first_difference
    assert found is not None
    assert (found.asset, found.partition, found.what) == ("flight_delays/plausible_weather", "2013-01-01", "bytes")
    assert (found.column, found.row) == ("origin", 0)
    assert found.details[:2] == ["in process has 'EWR'", "dagster has 'LGA'"]


@pytest.mark.full
def test_a_model_without_a_seed_is_found_at_the_model(tmp_path: Path) -> None:
    forest = (
        "uses: sklearn.ensemble.HistGradientBoostingClassifier\n    with:\n      learning_rate: 0.05\n      max_leaf_nodes: 15\n"
        "      min_samples_leaf: 20\n      l2_regularization: 1.0\n      random_state: 0\n",
        "uses: sklearn.pipeline.Pipeline\n    with:\n      steps:\n        - [fill, {uses: sklearn.impute.SimpleImputer}]\n"
        "        - [trees, {uses: sklearn.ensemble.RandomForestClassifier, with: {n_estimators: 5}}]\n",
    )
    path = tmp_path / "pipeline.yaml"
    path.write_text(small_yaml(*A_QUARTER, forest))
    environment = {**os.environ, "COLUMNS": "120"}
    done = subprocess.run(
        ["ml-platform", "parity", str(path)], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "✓ flight_delays/logistic" in done.stdout
    assert "✗ flight_delays/boosted: other bytes: what it learnt differs (object.skops)" in done.stdout
    assert "flight_delays/selection" not in done.stdout


@pytest.mark.full
def test_another_number_of_threads_is_found_at_the_first_step_that_depends_on_it(tmp_path: Path) -> None:
    found = compared(tmp_path, {"OMP_NUM_THREADS": "3"})
    assert found.first_difference is not None
    assert (found.first_difference.asset, found.first_difference.what) == ("flight_delays/codes_fitted", "cache_key")
    assert [
        detail for detail in found.first_difference.details if detail.endswith("→ 3")
    ] == found.first_difference.details
    assert found.environments["dagster"]["threads"] == 3


@pytest.mark.full
def test_a_changed_class_is_found_at_its_step(tmp_path: Path) -> None:
    for name, more in (("here", ""), ("there", ".assign(day_of_week=1)")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "calendars.py").write_text(
            "from ml_platform.transformers import Calendar\n\nclass Own(Calendar):\n"
            f"    def transform(self, X):\n        return super().transform(X){more}\n"
        )
    path = tmp_path / "pipeline.yaml"
    path.write_text(small_yaml(*A_QUARTER, ("ml_platform.transformers.Calendar", "calendars.Own")))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path / "here"))
        planted = {
            name: {"PYTHONPATH": str(tmp_path / folder)}
            for name, folder in (("in process", "here"), ("dagster", "there"))
        }
        found = run_parity(str(path), planted=planted).first_difference
    assert found is not None
    assert (found.asset, found.what) == ("flight_delays/calendar", "cache_key")
    assert found.details == ["Own changed"]


@pytest.mark.full
def test_a_runtime_that_fails_is_told_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text(small_yaml(("test: 3 months", "test: 30 months")))
    done = subprocess.run(["ml-platform", "parity", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (
        "error: in process: the run failed:\nDataError: flight_delays: as of 2014-01-01 no month is left" in done.stderr
    )
    assert "Traceback" not in done.stderr
