"""Approves the version of a model that passed every gate, and finds it again for whoever uses it."""

from collections.abc import Mapping

from ml_platform.artifacts import ArtifactStore, Fitted, Report
from ml_platform.artifacts.objects import stored_object
from ml_platform.errors import ArtifactError, expected_one_of
from ml_platform.evaluation.gates import require_passed
from ml_platform.evaluation.report_schemas import Approval, Evaluation
from ml_platform.pipeline.compiled import CompiledPipeline
from ml_platform.pipeline.spec import Gate


def approve(gates: Mapping[str, Gate], evaluation: Report) -> Report:
    """Names the model that passed every gate, by version, and the evaluation that says so.

    Raises:
        GateError: if a gate failed.
    """
    found = Evaluation.of(evaluation)
    require_passed(gates, found)
    assert evaluation.ref is not None
    approval = Approval(
        model=found.best,
        digest=found.models[found.best].digest,
        threshold=found.threshold,
        evaluation=evaluation.ref.digest,
        gates=found.gates,
    )
    return Report(approval.to_json())


def approved_model(pipeline: CompiledPipeline, store: ArtifactStore, approval: Report) -> Fitted:
    """Finds the model that an approval names, by what the approval was made of; current or not.

    Raises:
        ArtifactError: if the pipeline has no such model any more.
    """
    name = Approval.of(approval).model
    if name not in pipeline.spec.models:
        hint = expected_one_of(name, pipeline.spec.models)
        raise ArtifactError(f"the approved model {name!r} is no longer in the pipeline: {hint}")
    assert approval.ref is not None
    ((label, evaluation_id),) = approval.ref.inputs.items()
    evaluation = store.version(label, evaluation_id)
    artifact = store.version(pipeline.spec.asset(name), evaluation.inputs[pipeline.spec.asset(name)])
    # The types come from the pipeline's code, not from the approval's file.
    return stored_object(store, artifact, pipeline.inspection.models[name].types)
