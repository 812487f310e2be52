"""Counts where a model's answers are right and wrong, by class and by group."""

from typing import Any

import numpy as np
import pandas as pd

from ml_platform.evaluation.report_schemas import Confusion, ConfusionOfClasses, Group
from ml_platform.tasks import Task


def confusion(target: np.ndarray, probability: np.ndarray, threshold: float) -> Confusion:
    """Counts right and wrong answers of yes or no at a threshold (at or above it is a yes)."""
    from sklearn.metrics import confusion_matrix

    (true_no, false_yes), (false_no, true_yes) = confusion_matrix(target, probability >= threshold, labels=[0, 1])
    return Confusion(
        threshold=threshold,
        true_negatives=int(true_no),
        false_positives=int(false_yes),
        false_negatives=int(false_no),
        true_positives=int(true_yes),
        precision=float(true_yes / max(true_yes + false_yes, 1)),
        recall=float(true_yes / max(true_yes + false_no, 1)),
    )


def confusion_of_classes(truth: np.ndarray, answer: np.ndarray) -> ConfusionOfClasses:
    """Counts for each class (a row, by its place) what was said of it (a column)."""
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(truth, answer.argmax(axis=1), labels=np.arange(answer.shape[1]))
    return ConfusionOfClasses(counts=counts.tolist())


def by_group(frame: pd.DataFrame, column: str, task: Task, truth: np.ndarray, answer: np.ndarray) -> list[Group]:
    """Describes each value of a column; missing values are a group of their own."""
    groups = []
    values: list[Any] = sorted(frame[column].dropna().unique())
    if frame[column].isna().any():
        values.append(None)
    for value in values:
        mask = (frame[column].isna() if value is None else frame[column] == value).to_numpy()
        name = "missing" if value is None else str(value)
        groups.append(Group(value=name, rows=int(mask.sum()), figures=task.group(truth[mask], answer[mask])))
    return groups
