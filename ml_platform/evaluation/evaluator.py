"""Evaluates the candidate models on the test rows, which none of them has seen."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml_platform.artifacts import Fitted, Frames, Report
from ml_platform.errors import ArtifactError, DataError
from ml_platform.evaluation.gates import check_gates
from ml_platform.evaluation.metrics import by_group, confusion, confusion_of_classes
from ml_platform.evaluation.page import render_page
from ml_platform.evaluation.pictures import draw_all
from ml_platform.evaluation.report_schemas import CandidateFacts, Confusion, ConfusionOfClasses, Evaluation, Selection
from ml_platform.extras import is_installed
from ml_platform.pipeline.compiled import CompiledPipeline
from ml_platform.splits import Split, partitions_with, read_rows
from ml_platform.tasks import TASKS, Task
from ml_platform.training.models import features_and_target


def evaluate(
    pipeline: CompiledPipeline, frames: Frames, models: Mapping[str, Fitted], selection: Report, split: Split
) -> Report:
    """Scores every model on the test rows; the gates judge the one that the selection chose.

    Raises:
        ArtifactError: if the selection judged other models than these.
        DataError: if the models were trained for another split.
    """
    selected = Selection.of(selection)
    # Both before any row is read: a selection of other versions would have the gates judge a model by another's choice.
    _require_same_models(models, selected)
    _require_same_split(selected, split)
    spec = pipeline.spec
    columns = [*spec.features.columns, spec.target, *spec.evaluation.by]
    rows = read_rows(frames, split, ["test"], columns, pipeline.features.key)
    features, target = features_and_target(pipeline, rows)
    task, best = TASKS[spec.task], models[selected.best]
    task.require_learnable(target, "test")
    truth = task.truth(target, best.facts["classes"])
    answers = {name: task.answer(model.estimator, features) for name, model in models.items()}
    data = {part.label: part.digest for part in partitions_with(frames, split, ["test"]).parts.values()}
    found = _evaluation(pipeline, models, selected, _Answered(rows, truth, answers), data)
    # Without matplotlib there are none, and the page says so; its version (or lack) is a part of the cache key.
    pictures = draw_all(found, truth, answers) if is_installed("matplotlib") else {}
    predicted = task.columns(spec.target, answers[selected.best], found.classes, found.threshold)
    # Kept beside the figures, so that two evaluations can be compared row by row later.
    kept = rows[[*pipeline.features.key]].assign(**{spec.target: target, **predicted})
    return Report(found.to_json(), pictures, render_page(found, pictures), answers=kept)


@dataclass(frozen=True)
class _Answered:
    """The test rows, what is true of them, and what each model answers."""

    rows: pd.DataFrame
    truth: np.ndarray
    answers: Mapping[str, np.ndarray]


def _evaluation(
    pipeline: CompiledPipeline,
    models: Mapping[str, Fitted],
    selected: Selection,
    test: _Answered,
    data: dict[str, str],
) -> Evaluation:
    spec, best, task = pipeline.spec, models[selected.best], TASKS[pipeline.spec.task]
    scores = {name: task.measure(test.truth, answer) for name, answer in test.answers.items()}
    rows, truth, answer = test.rows, test.truth, test.answers[selected.best]
    return Evaluation(
        pipeline=spec.pipeline,
        description=spec.description,
        task=spec.task,
        target=spec.target,
        key=list(pipeline.features.key),
        features=list(spec.features.columns),
        split=selected.split,
        rows_train=best.facts["rows_train"],
        rows_test=len(rows),
        selected_by=task.selected_by,
        best=selected.best,
        threshold=selected.threshold,
        classes=best.facts["classes"],
        metric_names=list(task.all_metrics),
        metrics=scores[selected.best],
        target_facts=task.about(truth),
        models={name: _candidate(models[name], scores[name], task) for name in models},
        confusion=_confusion(task, truth, answer, selected.threshold),
        by={column: by_group(rows, column, task, truth, answer) for column in spec.evaluation.by},
        gates=check_gates(spec.gates, scores[selected.best]),
        data_test=data,
    )


def _confusion(
    task: Task, truth: np.ndarray, answer: np.ndarray, threshold: float | None
) -> Confusion | ConfusionOfClasses | None:
    if threshold is not None:
        return confusion(truth, answer, threshold)
    return confusion_of_classes(truth, answer) if answer.ndim == 2 else None


def _candidate(model: Fitted, scores: dict[str, float], task: Task) -> CandidateFacts:
    assert model.ref is not None
    return CandidateFacts(
        class_name=type(model.estimator).__name__,
        digest=model.ref.digest,
        rows_train=model.facts["rows_train"],
        validation=model.facts["validation"][task.selected_by],
        metrics=scores,
    )


def _require_same_models(models: Mapping[str, Fitted], selected: Selection) -> None:
    for name, model in models.items():
        if model.ref is None or model.ref.digest != selected.models.get(name):
            raise ArtifactError(f"the selection judged another version of model {name!r}; materialize selection again")


def _require_same_split(selected: Selection, split: Split) -> None:
    """Refuses test rows that a model may have been trained on."""
    if selected.split != split.facts():
        raise DataError(
            f"the models were trained for {selected.split}; this run splits {split.facts()}; use the same as_of"
        )
