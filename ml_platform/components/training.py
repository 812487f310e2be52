"""Builds the assets of a pipeline's models, and of the selection among them."""

from collections.abc import Mapping

import dagster as dg

from ml_platform.components.compute import body_of
from ml_platform.components.options import asset_key, asset_options
from ml_platform.pipeline.compiled import CompiledPipeline
from ml_platform.pipeline.spec import Model
from ml_platform.runtime import Node
from ml_platform.tasks import TASKS, label_of


def training_assets(pipeline: CompiledPipeline, nodes: Mapping[str, Node]) -> list[dg.AssetsDefinition]:
    """Returns one asset for each model, and the selection."""
    models = [_model_asset(pipeline, nodes[pipeline.spec.asset(name)]) for name in pipeline.spec.models]
    return [*models, _selection_asset(pipeline, nodes[pipeline.spec.asset("selection")])]


def _model_asset(pipeline: CompiledPipeline, node: Node) -> dg.AssetsDefinition:
    model = pipeline.spec.models[node.part]
    return dg.asset(
        **asset_options(pipeline, node),
        ins={"features": dg.AssetIn(asset_key(pipeline.features.asset))},
        description=f"{model.description or f'`{model.uses}`.'}\n\nFitted on training and validation rows; "
        "its validation scores come from a fit without the validation rows.",
        kinds={_kind(node, model), node.stage},
        io_manager_key="objects",
        metadata={
            "ml_platform/uses": list(pipeline.inspection.models[node.part].types),
            "uses": model.uses,
            "with": dg.MetadataValue.json(dict(model.with_)),
        },
    )(body_of(pipeline, node))


def _kind(node: Node, model: Model) -> str:
    if node.depends_on_device:
        return "pytorch"
    return "scikitlearn" if model.uses.startswith("sklearn.") else "python"


def _selection_asset(pipeline: CompiledPipeline, node: Node) -> dg.AssetsDefinition:
    loss = label_of(TASKS[pipeline.spec.task].selected_by)
    return dg.asset(
        **asset_options(pipeline, node),
        ins={name: dg.AssetIn(asset_key(asset)) for name, asset in node.inputs.items()},
        description=f"The model with the lowest {loss} on the validation rows; the test rows have no say.",
        kinds={"python", node.stage},
        io_manager_key="reports",
    )(body_of(pipeline, node))
