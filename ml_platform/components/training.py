"""How do a pipeline's models and the choice among them become assets?"""

from typing import Any

import dagster as dg

from ml_platform.components.options import asset_key, asset_options
from ml_platform.pipeline.compiled import CompiledPipeline
from ml_platform.pipeline.spec import Model
from ml_platform.resources import CutResource, StoreResource
from ml_platform.resources.refusal import refusals_as_failures


def training_assets(pipeline: CompiledPipeline) -> list[dg.AssetsDefinition]:
    """Gives one asset for each model, and the selection."""
    models = [_model_asset(pipeline, name, model) for name, model in pipeline.spec.models.items()]
    return [*models, _selection_asset(pipeline)]


def _model_asset(pipeline: CompiledPipeline, name: str, model: Model) -> dg.AssetsDefinition:
    @dg.asset(
        **asset_options(pipeline, name, "training", model.launcher),
        ins={"features": dg.AssetIn(asset_key(pipeline.features.asset))},
        description=f"{model.description or f'`{model.uses}`.'}\n\nFitted on training and validation rows; "
        "its validation scores come from a fit without the validation rows.",
        kinds={"scikitlearn" if model.uses.startswith("sklearn.") else "python"},
        io_manager_key="objects",
        metadata={
            "ml_platform/uses": list(pipeline.model_types[name]),
            "uses": model.uses,
            "with": dg.MetadataValue.json(dict(model.with_)),
        },
    )
    def train(context: dg.AssetExecutionContext, store: StoreResource, cut: CutResource, features: Any) -> dg.Output:
        from ml_platform.training import train_model

        with refusals_as_failures():
            settled = cut.settle(pipeline, store.open())
            fitted = train_model(pipeline, name, features, settled, context.log.info)
            validation = {f"validation_{key}": value for key, value in fitted.facts["validation"].items()}
            shown = {"rows_train": fitted.facts["rows_train"], "split": fitted.facts["split"]}
            return dg.Output(fitted, metadata={**validation, **shown})

    return train


def _selection_asset(pipeline: CompiledPipeline) -> dg.AssetsDefinition:
    @dg.asset(
        **asset_options(pipeline, "selection", "selection", "cpu"),
        ins={name: dg.AssetIn(asset_key(pipeline.spec.asset(name))) for name in pipeline.spec.models},
        description="The model with the lowest log loss on the validation rows; the test rows have no say.",
        kinds={"python"},
        io_manager_key="reports",
    )
    def select(**models: Any) -> dg.Output:
        from ml_platform.training import select_best

        with refusals_as_failures():
            report = select_best(models)
            return dg.Output(report, metadata={"best": report.facts["best"], "ranked": report.facts["ranked"]})

    return select
