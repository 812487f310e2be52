"""How good are the candidates on rows that none of them has seen?"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ml_platform.artifacts import Fitted, Frames, Report
from ml_platform.errors import ArtifactError, DataError
from ml_platform.evaluation.gates import judge
from ml_platform.evaluation.metrics import by_group, confusion, confusion_of_classes
from ml_platform.evaluation.page import render_page
from ml_platform.evaluation.pictures import draw_all
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
    _check_same_models(models, selection)
    test = partitions_with(frames, split, ["test"])
    _check_same_split(selection, split)
    spec = pipeline.spec
    columns = [*spec.features.columns, spec.target, *spec.evaluation.by]
    rows = read_rows(frames, split, ["test"], columns, pipeline.features.key)
    features, target = features_and_target(pipeline, rows)
    task, best = TASKS[spec.task], selection.facts["best"]
    task.require_learnable(target, "test")
    classes = models[best].facts["classes"]
    truth = task.truth(target, classes)
    answers = {name: task.answer(model.estimator, features) for name, model in models.items()}
    data = {part.label: part.digest for part in test.parts.values()}
    facts = {**_facts(pipeline, models, selection, rows, truth, answers), "data_test": data}
    pictures = draw_all(facts, truth, answers) if is_installed("matplotlib") else {}
    said = task.columns(spec.target, answers[best], classes, selection.facts["threshold"])
    kept = rows[[*pipeline.features.key]].assign(**{spec.target: target, **said})
    return Report(facts, pictures, render_page(facts, pictures), answers=kept)


def _facts(
    pipeline: CompiledPipeline,
    models: Mapping[str, Fitted],
    selection: Report,
    rows: pd.DataFrame,
    truth: np.ndarray,
    answers: Mapping[str, np.ndarray],
) -> dict[str, Any]:
    """Gathers what an evaluation says, as plain JSON values."""
    spec, best, task = pipeline.spec, selection.facts["best"], TASKS[pipeline.spec.task]
    scores = {name: task.measure(truth, answer) for name, answer in answers.items()}
    return {
        "pipeline": spec.pipeline,
        "description": spec.description,
        "task": spec.task,
        "target": spec.target,
        "key": list(pipeline.features.key),
        "metrics": list(task.all_metrics),
        "selected_by": task.selected_by,
        "best": best,
        "split": selection.facts["split"],
        "rows_train": models[best].facts["rows_train"],
        "rows_test": len(rows),
        **task.about(truth),
        **scores[best],
        "models": {name: scores[name] | _about(models[name], len(rows), task) for name in models},
        "classes": models[best].facts["classes"],
        "threshold": selection.facts["threshold"],
        "confusion": _confusion(task, truth, answers[best], selection.facts["threshold"]),
        "by": {column: by_group(rows, column, task, truth, answers[best]) for column in spec.evaluation.by},
        "features": list(spec.features.columns),
        "gates": [result.to_json() for result in judge(spec.gates, scores[best])],
    }


def _confusion(task: Task, truth: np.ndarray, answer: np.ndarray, threshold: float | None) -> dict[str, Any] | None:
    if threshold is not None:
        return confusion(truth, answer, threshold)
    return confusion_of_classes(truth, answer) if answer.ndim == 2 else None


def _about(model: Fitted, rows_test: int, task: Task) -> dict[str, Any]:
    assert model.ref is not None
    return {
        "rows_train": model.facts["rows_train"],
        "rows_test": rows_test,
        f"validation_{task.selected_by}": model.facts["validation"][task.selected_by],
        "class": type(model.estimator).__name__,
        "digest": model.ref.digest,
    }


def _check_same_models(models: Mapping[str, Fitted], selection: Report) -> None:
    for name, model in models.items():
        if model.ref is None or model.ref.digest != selection.facts["models"].get(name):
            raise ArtifactError(f"the selection judged another version of model {name!r}; materialize selection again")


def _check_same_split(selection: Report, split: Split) -> None:
    """Refuses test rows that a model may have been trained on."""
    trained = selection.facts["split"]
    if trained != split.facts():
        raise DataError(f"the models were trained for {trained}; this run splits {split.facts()}; use the same as_of")
