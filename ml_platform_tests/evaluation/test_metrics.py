import numpy as np
import pandas as pd
import pytest

from ml_platform.evaluation.metrics import by_group, confusion
from ml_platform.tasks import TASKS

TARGET = np.array([0, 0, 1, 1])
GUESS = np.array([0.1, 0.6, 0.35, 0.8])


def test_scores_are_their_textbook_values() -> None:
    scores = TASKS["binary"].score(TARGET, GUESS)
    assert scores["roc_auc"] == pytest.approx(0.75)
    assert scores["log_loss"] == pytest.approx(-np.log([0.9, 0.4, 0.35, 0.8]).mean())
    assert scores["brier_score"] == pytest.approx(((GUESS - TARGET) ** 2).mean())


def test_confusion_counts_at_and_above_the_threshold_as_yes() -> None:
    counts = confusion(TARGET, GUESS, 0.35)
    assert (counts.true_negatives, counts.false_positives, counts.false_negatives, counts.true_positives) == (
        1,
        1,
        0,
        2,
    )
    assert (counts.precision, counts.recall) == (pytest.approx(2 / 3), 1.0)


def test_missing_values_are_a_group_of_their_own() -> None:
    frame = pd.DataFrame({"origin": ["a", None, "a", None]})
    assert [(group.value, group.rows) for group in by_group(frame, "origin", TASKS["binary"], TARGET, GUESS)] == [
        ("a", 2),
        ("missing", 2),
    ]


def test_a_group_with_one_class_has_no_auc_but_its_rates() -> None:
    frame = pd.DataFrame({"origin": ["a", "b", "a", "b"]})
    groups = by_group(frame, "origin", TASKS["binary"], np.array([0, 0, 1, 0]), GUESS)
    assert [(group.value, group.rows, group.figures["rate"], group.figures["roc_auc"]) for group in groups] == [
        ("a", 2, 0.5, 1.0),
        ("b", 2, 0.0, None),
    ]
