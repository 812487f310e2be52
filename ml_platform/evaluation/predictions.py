"""Predicts one partition's rows with the approved model."""

from typing import TYPE_CHECKING

from ml_platform.artifacts import Fitted, Frames
from ml_platform.artifacts.lineage import require_same_lineage
from ml_platform.errors import require_columns
from ml_platform.pipeline.compiled import CompiledPipeline
from ml_platform.tasks import TASKS

if TYPE_CHECKING:
    import pandas as pd


def predict_partition(
    pipeline: CompiledPipeline, model: Fitted, threshold: float | None, features: Frames
) -> "pd.DataFrame":
    """Scores the rows of one partition.

    Returns:
        A frame with the key's columns, `predicted_<target>`, and what the task adds: `probability` in [0, 1], or one
        for each class.

    Raises:
        DataError: features that went through other versions of steps than the model was trained on.
    """
    spec, key = pipeline.spec, list(pipeline.features.key)
    assert model.ref is not None
    names = model.facts["features"]
    columns = list(dict.fromkeys([*key, *names]))
    require_columns(features.columns, columns, f"{model.ref.label} was trained on")
    require_same_lineage(features, model)
    frame = features.read_all(columns)
    task = TASKS[spec.task]
    answer = task.answer(model.estimator, frame[names])
    return frame[key].assign(**task.columns(spec.target, answer, model.facts.get("classes", ()), threshold))
