"""Compares the best models of two pipelines on the test rows that both have."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from ml_platform.errors import DataError, first_few
from ml_platform.evaluation.report_schemas import Evaluation
from ml_platform.tasks import TASKS, label_of

_TOGETHER = ("task", "target", "key", "classes")
_Z = 1.959964  # 95 % of a normal distribution lie within so many standard deviations


@dataclass(frozen=True)
class Comparison:
    """Two pipelines' best models side by side on the test rows that both have.

    Attributes:
        pipelines: the names of A and B, `models`: of their best models.
        rows: how many test rows both have, `rows_alone`: how many only A and only B has.
        metrics: metric to the values of A and B on the common rows.
        loss: how much higher B's mean loss is (that of the metric models are selected by; for RMSE squared errors),
            and its 95 % interval, the rows taken as independent of each other.
    """

    pipelines: tuple[str, str]
    models: tuple[str, str]
    rows: int
    rows_alone: tuple[int, int]
    selected_by: str
    metrics: Mapping[str, tuple[float, float]]
    loss: tuple[float, float, float]

    @property
    def verdict(self) -> str:
        """A sentence: which one is better, if the rows can tell."""
        (one, other), (difference, low, high) = self.pipelines, self.loss
        name = "mean squared error" if self.selected_by == "rmse" else label_of(self.selected_by)
        told = f"{name} {difference:+.4g} (95 % interval {low:+.4g} to {high:+.4g})"
        if low == high == 0:
            return f"{one} and {other} answer alike, row by row: nothing that differs reaches the models"
        if low <= 0 <= high:
            return f"these rows cannot tell {other} from {one}: {told}"
        return f"{other} is {'worse' if difference > 0 else 'better'} than {one}: {told}"

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values."""
        return {**asdict(self), "verdict": self.verdict}

    def to_frame(self) -> pd.DataFrame:
        """Returns a row for each metric: A, B and how much higher B is."""
        table = pd.DataFrame(list(self.metrics.values()), list(self.metrics), list(self.pipelines))
        table["difference"] = table.iloc[:, 1] - table.iloc[:, 0]
        return table


def compare_answers(
    evaluations: tuple[Evaluation, Evaluation], answers: tuple[pd.DataFrame, pd.DataFrame]
) -> Comparison:
    """Compares what two evaluations kept: their facts, and the answers of their best models on their test rows.

    Raises:
        DataError: other tasks, targets or keys, no common rows, or rows whose truths differ.
    """
    _require_alike(evaluations)
    first, other = evaluations
    key, target, task = first.key, first.target, TASKS[first.task]
    names = [f"{target} of {side}" for side in ("A", "B")]
    both = answers[0][[*key, target]].merge(answers[1][[*key, target]], on=key, suffixes=(" of A", " of B"))
    if both.empty:
        raise DataError(f"{first.pipeline} and {other.pipeline} have no test row in common; split them alike")
    # Other truths for one row: the sources differ, and no figure of the two would be of the same question.
    differ = both[both[names[0]] != both[names[1]]]
    if len(differ):
        shown = first_few(
            [dict(zip(key, map(str, row), strict=True)) for row in differ[key].itertuples(index=False)], 2
        )
        raise DataError(f"{len(differ):,} of {len(both):,} common rows have another {target!r} in each: {shown}")
    common = both[key]
    truth = task.truth(both[names[0]].to_numpy(), first.classes)
    said = [task.answer_in(common.merge(one, on=key, how="left"), target, first.classes) for one in answers]
    scores = [task.measure(truth, answer) for answer in said]
    return Comparison(
        (first.pipeline, other.pipeline),
        (first.best, other.best),
        len(both),
        (len(answers[0]) - len(both), len(answers[1]) - len(both)),
        first.selected_by,
        {metric: (scores[0][metric], scores[1][metric]) for metric in task.all_metrics},
        # Row by row, on common rows: the spread of the differences is far smaller than that of either's losses.
        _interval(task.losses(truth, said[1]) - task.losses(truth, said[0])),
    )


def _interval(differences: np.ndarray) -> tuple[float, float, float]:
    """Returns a mean with its 95 % interval."""
    mean = float(differences.mean())
    margin = _Z * float(differences.std(ddof=1)) / len(differences) ** 0.5 if len(differences) > 1 else float("inf")
    return mean, mean - margin, mean + margin


def _require_alike(evaluations: tuple[Evaluation, Evaluation]) -> None:
    for name in _TOGETHER:
        one, other = (getattr(side, name) for side in evaluations)
        if one != other:
            raise DataError(
                f"{evaluations[0].pipeline} and {evaluations[1].pipeline} cannot be compared: "
                f"{name} is {one!r} and {other!r}"
            )
