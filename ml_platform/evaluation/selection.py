"""Selects the best of the candidate models on the validation rows."""

from collections.abc import Mapping

from ml_platform.artifacts import Fitted, Report
from ml_platform.errors import ArtifactError
from ml_platform.evaluation.report_schemas import Selection
from ml_platform.tasks import Task


def select_best(models: Mapping[str, Fitted], task: Task) -> Report:
    """Chooses the model with the lowest value of the task's metric on the validation rows; the test rows have no say.

    Raises:
        ArtifactError: if the candidates were trained for different splits.
    """
    splits = {name: model.facts["split"] for name, model in models.items()}
    if any(split != next(iter(splits.values())) for split in splits.values()):
        raise ArtifactError(f"the models were trained for different splits: {splits}; materialize them again together")
    ranked = sorted(models, key=lambda name: (models[name].facts["validation"][task.selected_by], name))
    best = models[ranked[0]]
    selection = Selection(
        best=ranked[0],
        ranked=ranked,
        selected_by=task.selected_by,
        split=splits[ranked[0]],
        threshold=best.facts["validation"].get("threshold"),
        validation={name: model.facts["validation"] for name, model in models.items()},
        models={name: model.ref.digest for name, model in models.items() if model.ref},
    )
    return Report(selection.to_json())
