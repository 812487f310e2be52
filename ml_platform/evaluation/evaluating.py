"""How good are the candidates on rows that none of them has seen?"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ml_platform.artifacts import Fitted, Frames, Report
from ml_platform.errors import ArtifactError, DataError
from ml_platform.evaluation.gates import judge
from ml_platform.evaluation.metrics import by_group, confusion, score
from ml_platform.evaluation.page import render_page
from ml_platform.evaluation.pictures import draw_all
from ml_platform.pipeline.compiled import CompiledPipeline
from ml_platform.pipeline.splitting import Cut, narrow, read_rows
from ml_platform.training.models import features_and_target, require_both_classes


def evaluate(
    pipeline: CompiledPipeline, frames: Frames, models: Mapping[str, Fitted], selection: Report, cut: Cut
) -> Report:
    """Scores every model on the test rows; the gates judge the one that the selection chose.

    Raises:
        ArtifactError: if the selection judged other models than these.
        DataError: if the models were trained for another split.
    """
    _check_same_models(models, selection)
    test = narrow(frames, cut, ["test"])
    _check_same_split(selection, cut)
    spec = pipeline.spec
    columns = [*spec.features.columns, spec.target, *spec.evaluation.by]
    rows = read_rows(frames, cut, ["test"], columns, pipeline.features.key)
    features, target = features_and_target(pipeline, rows)
    require_both_classes(target, "test")
    guesses = {name: model.estimator.predict_proba(features)[:, 1] for name, model in models.items()}
    data = {part.label: part.digest for part in test.parts.values()}
    facts = {**_facts(pipeline, models, selection, rows, target, guesses), "data_test": data}
    pictures = draw_all(facts, target, guesses)
    return Report(facts, pictures, render_page(facts, pictures))


def _facts(
    pipeline: CompiledPipeline,
    models: Mapping[str, Fitted],
    selection: Report,
    rows: pd.DataFrame,
    target: np.ndarray,
    guesses: Mapping[str, np.ndarray],
) -> dict[str, Any]:
    """Gathers what an evaluation says, as plain JSON values."""
    spec, best = pipeline.spec, selection.facts["best"]
    scores = {name: score(target, guess) for name, guess in guesses.items()}
    return {
        "pipeline": spec.pipeline,
        "description": spec.description,
        "target": spec.target,
        "best": best,
        "split": selection.facts["split"],
        "rows_train": models[best].facts["rows_train"],
        "rows_test": len(rows),
        "rate_test": float(target.mean()),
        **scores[best],
        "models": {name: scores[name] | _about(models[name], len(rows)) for name in models},
        "confusion": confusion(target, guesses[best], selection.facts["threshold"]),
        "by": {column: by_group(rows, column, target, guesses[best]) for column in spec.evaluation.by},
        "features": list(spec.features.columns),
        "gates": [result.to_json() for result in judge(spec.gates, scores[best])],
    }


def _about(model: Fitted, rows_test: int) -> dict[str, Any]:
    assert model.ref is not None
    return {
        "rows_train": model.facts["rows_train"],
        "rows_test": rows_test,
        "validation_log_loss": model.facts["validation"]["log_loss"],
        "class": type(model.estimator).__name__,
        "digest": model.ref.digest,
    }


def _check_same_models(models: Mapping[str, Fitted], selection: Report) -> None:
    for name, model in models.items():
        if model.ref is None or model.ref.digest != selection.facts["models"].get(name):
            raise ArtifactError(f"the selection judged another version of model {name!r}; materialize selection again")


def _check_same_split(selection: Report, cut: Cut) -> None:
    """Refuses test rows that a model may have been trained on."""
    trained = selection.facts["split"]
    if trained != cut.facts():
        raise DataError(f"the models were trained for {trained}; this run splits {cut.facts()}; use the same as_of")
