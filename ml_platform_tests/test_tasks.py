"""Each task asks, judges and tells as scikit-learn defines it."""

from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from ml_platform.errors import DataError
from ml_platform.tasks import TASKS, Metric

CLASSES = ["bird", "cat", "dog"]
ANSWERS = {
    "binary": np.array([0.2, 0.7, 0.4]),
    "multiclass": np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.2, 0.5, 0.3]]),
    "regression": np.array([1.5, -2.0, 3.0]),
}
TRUTHS = {
    "binary": np.array([0, 1, 1]),
    "multiclass": np.array([0, 2, 2]),
    "regression": np.array([1.0, -1.0, 3.0]),
}


@pytest.mark.parametrize("name", TASKS)
def test_the_losses_of_rows_are_what_models_are_selected_by(name: str) -> None:
    task = TASKS[name]
    mean = task.losses(TRUTHS[name], ANSWERS[name]).mean()
    expected = task.score(TRUTHS[name], ANSWERS[name])[task.selected_by]
    assert mean == pytest.approx(expected**2 if task.selected_by == "rmse" else expected)


@pytest.mark.parametrize("name", TASKS)
def test_an_answer_is_found_again_in_the_columns_of_predictions(name: str) -> None:
    columns = pd.DataFrame(TASKS[name].columns("pet", ANSWERS[name], CLASSES, 0.5))
    assert "predicted_pet" in columns
    assert (TASKS[name].answer_in(columns, "pet", CLASSES) == ANSWERS[name]).all()


@pytest.mark.parametrize("name", TASKS)
def test_every_metric_is_measured_and_has_a_label(name: str) -> None:
    scores = TASKS[name].score(TRUTHS[name], ANSWERS[name])
    assert list(scores) == list(TASKS[name].metrics)
    assert all(metric.label for metric in TASKS[name].metrics.values())


def test_classes_are_judged_by_their_places() -> None:
    task = TASKS["multiclass"]
    assert task.truth(np.array(["dog", "bird"]), CLASSES).tolist() == [2, 0]
    with pytest.raises(DataError, match=r"1 rows have classes that no training row has: fox; known: bird, cat, dog"):
        task.truth(np.array(["dog", "fox"]), CLASSES)
    assert task.score(TRUTHS["multiclass"], ANSWERS["multiclass"])["accuracy"] == pytest.approx(2 / 3)


def test_targets_that_cannot_be_are_refused() -> None:
    with pytest.raises(DataError, match="target 'pet': 1 rows have no class"):
        TASKS["multiclass"].target(pd.Series(["cat", None], name="pet"))
    with pytest.raises(DataError, match="target 'delay': 2 of 3 rows are missing or infinite"):
        TASKS["regression"].target(pd.Series([1.0, None, np.inf], name="delay"))
    with pytest.raises(DataError, match="expected several classes; widen the split"):
        TASKS["multiclass"].require_learnable(np.array(["cat", "cat"]), "training")
    with pytest.raises(DataError, match="expected several values; widen the split"):
        TASKS["regression"].require_learnable(np.array([1.0, 1.0]), "test")


def test_a_metric_that_is_no_number_is_refused_by_name() -> None:
    answer = np.array([1.0, np.inf, 2.0])
    with pytest.raises(DataError, match=r"rmse is (inf|nan).* on 3 rows; expected finite numbers"):
        Unbounded().measure(np.array([1.0, 2.0, 3.0]), answer)


class Unbounded(type(TASKS["regression"])):  # type: ignore[misc]
    """A task whose metrics say what they like."""

    name = "regression"
    metrics: ClassVar = {"rmse": Metric("RMSE", lambda truth, answer: float(np.abs(truth - answer).max()))}
