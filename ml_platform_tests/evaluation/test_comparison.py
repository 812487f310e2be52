"""Two evaluations are compared on the rows that both have, and refused where that says nothing."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from ml_platform.errors import DataError
from ml_platform.evaluation.comparison import compare_answers
from ml_platform_tests.evaluation.examples import evaluation

ONE, OTHER = evaluation(), evaluation(pipeline="b")


def answers(flights: list[int], probability: list[float]) -> pd.DataFrame:
    late = np.array([flight % 2 for flight in flights])
    return pd.DataFrame({"flight": flights, "late": late, "probability": probability})


def test_only_common_rows_count_in_whatever_order_they_come() -> None:
    one, other = answers([1, 2, 3, 4], [0.9, 0.2, 0.7, 0.1]), answers([5, 4, 3, 2], [0.5, 0.1, 0.7, 0.2])
    found = compare_answers((ONE, OTHER), (one, other))
    assert (found.rows, found.rows_alone) == (3, (1, 1))
    assert found.metrics["log_loss"][0] == pytest.approx(found.metrics["log_loss"][1])
    assert found.loss == (0, 0, 0)
    assert found.verdict == "a and b answer alike, row by row: nothing that differs reaches the models"


def test_the_interval_is_of_the_rows_differences() -> None:
    rng = np.random.default_rng(0)
    flights = list(range(2000))
    truth = np.array(flights) % 2
    one = answers(flights, list(np.clip(0.5 + 0.2 * (truth - 0.5) + rng.normal(0, 0.05, 2000), 0.01, 0.99)))
    other = answers(flights, list(np.clip(0.5 + 0.6 * (truth - 0.5) + rng.normal(0, 0.05, 2000), 0.01, 0.99)))
    found = compare_answers((ONE, OTHER), (one, other))
    first, second = found.metrics["log_loss"]
    assert found.loss[0] == pytest.approx(second - first)
    assert found.loss[1] < found.loss[0] < found.loss[2] < 0
    assert found.verdict.startswith("b is better than a: log loss -0.")
    assert found.to_frame().loc["log_loss", "difference"] == pytest.approx(second - first)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"task": "regression"}, "task is 'binary' and 'regression'"),
        ({"target": "early"}, "target is 'late' and 'early'"),
        ({"key": ["day"]}, r"key is \['flight'\] and \['day'\]"),
        ({"classes": [0, 1, 2]}, "classes is"),
    ],
)
def test_evaluations_of_other_questions_are_not_compared(facts: dict[str, Any], message: str) -> None:
    frame = answers([1, 2], [0.5, 0.5])
    with pytest.raises(DataError, match=f"a and b cannot be compared: {message}"):
        compare_answers((ONE, evaluation(pipeline="b", **facts)), (frame, frame))


def test_rows_in_common_are_needed_and_must_have_one_truth() -> None:
    with pytest.raises(DataError, match="no test row in common"):
        compare_answers((ONE, OTHER), (answers([1], [0.5]), answers([2], [0.5])))
    with pytest.raises(DataError, match=r"1 of 2 common rows have another 'late' in each: \{'flight': '1'\}"):
        compare_answers((ONE, OTHER), (answers([1, 2], [0.5] * 2), answers([1, 2], [0.5] * 2).assign(late=[0, 0])))
