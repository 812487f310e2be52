"""How do evaluation, gates, approval and predictions become assets and checks?"""

import base64
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from ml_platform.artifacts import Report
from ml_platform.artifacts.objects import read_object
from ml_platform.components.options import (
    asset_key,
    asset_options,
    describe_frame,
    partitions_of,
    selected_partitions,
)
from ml_platform.components.progress import told
from ml_platform.errors import ArtifactError, expected_one_of
from ml_platform.pipeline.compiled import CompiledPipeline
from ml_platform.resources import CutResource, StoreResource
from ml_platform.resources.refusal import refusals_as_failures


def judging_assets(pipeline: CompiledPipeline) -> list[dg.AssetsDefinition]:
    """Gives the evaluation, the approval, and the predictions that hang on it."""
    return [_evaluation_asset(pipeline), _approved_asset(pipeline), _predictions_asset(pipeline)]


def judging_checks(pipeline: CompiledPipeline) -> list[dg.AssetChecksDefinition]:
    """Gives the gates as blocking checks of the evaluation: for the eye; the guarantee is `approved`."""
    if not pipeline.spec.gates:
        return []
    evaluation = asset_key(pipeline.spec.asset("evaluation"))
    specs = [
        dg.AssetCheckSpec(name, asset=evaluation, blocking=True, description=gate.why or None)
        for name, gate in pipeline.spec.gates.items()
    ]

    @dg.multi_asset_check(
        name=f"{pipeline.spec.pipeline}_gates",
        specs=specs,
        ins={"evaluation": dg.AssetIn(evaluation)},
        op_tags={"ml_platform/launcher": pipeline.spec.evaluation.launcher},
    )
    def gates(evaluation: Any) -> Iterator[dg.AssetCheckResult]:
        from ml_platform.evaluation import judge

        for gate in judge(pipeline.spec.gates, evaluation.facts):
            shown = {"value": gate.value, "bound": gate.bound, "model": evaluation.facts["best"]}
            yield dg.AssetCheckResult(passed=gate.passed, check_name=gate.name, metadata=shown)

    return [gates]


def _evaluation_asset(pipeline: CompiledPipeline) -> dg.AssetsDefinition:
    spec = pipeline.spec
    ins = {name: dg.AssetIn(asset_key(spec.asset(name))) for name in (*spec.models, "selection")}
    ins["features"] = dg.AssetIn(asset_key(pipeline.features.asset))

    @dg.asset(
        **asset_options(pipeline, "evaluation", "evaluation", spec.evaluation.launcher),
        ins=ins,
        description="Every model on the test rows, which none has seen; the gates judge the selected one.",
        kinds={"scikitlearn", "html"},
        io_manager_key="reports",
    )
    def evaluate_models(
        store: StoreResource, cut: CutResource, features: Any, selection: Any, **models: Any
    ) -> dg.Output:
        from ml_platform.evaluation import evaluate

        with refusals_as_failures():
            report = evaluate(pipeline, features, models, selection, cut.settle(pipeline, store.open()))
            return dg.Output(report, metadata=_shown(report))

    return evaluate_models


def _shown(report: Report) -> dict[str, Any]:
    """Puts an evaluation's figures and pictures where Dagster's UI shows them."""
    facts = report.facts
    figures = {name: facts[name] for name in ("best", "roc_auc", "log_loss", "rows_train", "rows_test", "split")}
    return {**figures, **{name: _picture(name, png) for name, png in report.pictures.items()}}


def _picture(name: str, png: bytes) -> dg.MetadataValue:
    return dg.MetadataValue.md(f"![{name}](data:image/png;base64,{base64.b64encode(png).decode()})")


def _approved_asset(pipeline: CompiledPipeline) -> dg.AssetsDefinition:
    @dg.asset(
        **asset_options(pipeline, "approved", "deployment", "cpu"),
        ins={"evaluation": dg.AssetIn(asset_key(pipeline.spec.asset("evaluation")))},
        description="The model that passed every gate, by version. Fails, and stays as it was, if one did not. "
        "Whatever uses the model depends on this.",
        kinds={"python"},
        io_manager_key="reports",
    )
    def approve(evaluation: Any) -> dg.Output:
        from ml_platform.evaluation import require_passed

        with refusals_as_failures():
            require_passed(pipeline.spec.gates, evaluation.facts)
            facts = _approval(evaluation)
            made_of = {evaluation.ref.label: evaluation.ref.id}
            return dg.Output(Report(facts, inputs=made_of), metadata={"model": facts["model"], "id": facts["id"]})

    return approve


def _approval(evaluation: Report) -> Mapping[str, Any]:
    """Says which version of which model is approved, and by which evaluation."""
    best = evaluation.facts["best"]
    assert evaluation.ref is not None
    return {
        "model": best,
        "asset": evaluation.facts["models"][best]["asset"],
        "id": evaluation.facts["models"][best]["id"],
        "threshold": evaluation.facts["confusion"]["threshold"],
        "evaluation": evaluation.ref.id,
        "gates": evaluation.facts["gates"],
    }


def _predictions_asset(pipeline: CompiledPipeline) -> dg.AssetsDefinition:
    step = pipeline.features
    text = f"The approved model's probability of {pipeline.spec.target}, and its answer at the evaluation's threshold."

    @dg.asset(
        **asset_options(pipeline, "predictions", "inference", "cpu"),
        ins={
            "features": dg.AssetIn(asset_key(step.asset)),
            "approved": dg.AssetIn(asset_key(pipeline.spec.asset("approved"))),
        },
        description=describe_frame(text, step.grain, step.key),
        kinds={"scikitlearn", "parquet"},
        partitions_def=partitions_of(step.spans),
        io_manager_key="frames",
    )
    def predict(context: dg.AssetExecutionContext, store: StoreResource, features: Any, approved: Any) -> Any:
        from ml_platform.evaluation.scoring import predict_partitions

        with refusals_as_failures():
            opened, facts = store.open(), approved.facts
            # The types come from the pipeline's code, not from the approval's file.
            types = pipeline.model_types.get(facts["model"])
            if types is None:
                hint = expected_one_of(facts["model"], pipeline.model_types)
                raise ArtifactError(f"the approved model {facts['model']!r} is no longer in the pipeline: {hint}")
            model = read_object(opened, opened.version(facts["asset"], facts["id"]), types)
            partitions = selected_partitions(context)
            parts = predict_partitions(pipeline, model, facts["threshold"], features, partitions)
            return told(context, parts, len(partitions))

    return predict
