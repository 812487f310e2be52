"""Builds the assets of evaluation, approval and predictions, and the gates as asset checks."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from ml_platform.components.compute import body_of
from ml_platform.components.options import asset_key, asset_options, describe_frame, op_tags, partitions_of
from ml_platform.pipeline.compiled import CompiledPipeline
from ml_platform.runtime import Node


def evaluation_assets(pipeline: CompiledPipeline, nodes: Mapping[str, Node]) -> list[dg.AssetsDefinition]:
    """Returns the evaluation, the approval, and the predictions that hang on it."""
    evaluation, approved, predictions = (
        nodes[pipeline.spec.asset(name)] for name in ("evaluation", "approved", "predictions")
    )
    return [
        _report_asset(
            pipeline,
            evaluation,
            "Every model on the test rows, which none has seen; the gates judge the selected one.",
            {"scikitlearn", "html"},
        ),
        _report_asset(
            pipeline,
            approved,
            "The model that passed every gate, by version. Fails, and stays as it was, if one did not. "
            "Whatever uses the model depends on this.",
            {"python"},
        ),
        _predictions_asset(pipeline, predictions),
    ]


def gate_checks(pipeline: CompiledPipeline) -> list[dg.AssetChecksDefinition]:
    """Returns the gates as blocking checks of the evaluation: for the eye; the guarantee is `approved`."""
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
        op_tags=op_tags(pipeline.spec.evaluation.launcher),
    )
    def gates(evaluation: Any) -> Iterator[dg.AssetCheckResult]:
        from ml_platform.evaluation import Evaluation, check_gates

        found = Evaluation.of(evaluation)
        for gate in check_gates(pipeline.spec.gates, found.metrics):
            shown: dict[str, Any] = {"value": gate.value, "bound": gate.bound, "model": found.best}
            yield dg.AssetCheckResult(passed=gate.passed, check_name=gate.name, metadata=shown)

    return [gates]


def _report_asset(pipeline: CompiledPipeline, node: Node, description: str, kinds: set[str]) -> dg.AssetsDefinition:
    return dg.asset(
        **asset_options(pipeline, node),
        ins={name: dg.AssetIn(asset_key(asset)) for name, asset in node.inputs.items()},
        description=description,
        kinds={*kinds, node.stage},
        io_manager_key="reports",
    )(body_of(pipeline, node))


def _predictions_asset(pipeline: CompiledPipeline, node: Node) -> dg.AssetsDefinition:
    step = pipeline.features
    target = pipeline.spec.target
    text = {
        "binary": f"The approved model's probability of {target}, and its answer at the evaluation's threshold.",
        "multiclass": f"The approved model's {target}, and its probability of each class.",
        "regression": f"The approved model's {target}.",
    }[pipeline.spec.task]
    return dg.asset(
        **asset_options(pipeline, node),
        ins={name: dg.AssetIn(asset_key(asset)) for name, asset in node.inputs.items()},
        description=describe_frame(text, step.grain, step.key),
        kinds={"scikitlearn", "parquet", node.stage},
        partitions_def=partitions_of(step.spans),
        io_manager_key="frames",
    )(body_of(pipeline, node))
