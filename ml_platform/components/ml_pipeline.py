"""Turns a pipeline's YAML into Dagster definitions."""

import dagster as dg

from ml_platform.components.evaluation import evaluation_assets, gate_checks
from ml_platform.components.scaffolder import PipelineScaffolder
from ml_platform.components.steps import step_assets
from ml_platform.components.training import training_assets
from ml_platform.pipeline import load_pipeline
from ml_platform.pipeline.compiled import CompiledPipeline
from ml_platform.runtime import nodes_of


@dg.scaffold_with(PipelineScaffolder)
class MLPipelineComponent(dg.Component, dg.Model, dg.Resolvable):
    """A pipeline of data transformers, models and gates, declared in a YAML file of its own.

    A `sources.py` beside it is loaded too: Dagster itself passes over the modules of a folder with a `defs.yaml`.
    """

    file: str = "pipeline.yaml"

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Compiles the file beside `defs.yaml`."""
        definitions = pipeline_definitions(load_pipeline(context.path / self.file))
        sources = context.path / "sources.py"
        if not sources.exists():
            return definitions
        module = context.load_defs_relative_python_module(sources)
        return dg.Definitions.merge(definitions, dg.Definitions(assets=dg.load_assets_from_modules([module])))


def pipeline_definitions(pipeline: CompiledPipeline) -> dg.Definitions:
    """Turns a compiled pipeline into assets, checks and one job that makes all of them."""
    nodes = nodes_of(pipeline)
    assets = [*step_assets(pipeline, nodes), *training_assets(pipeline, nodes), *evaluation_assets(pipeline, nodes)]
    keys = [key for asset in assets for key in asset.keys]
    sources = [dg.AssetKey.from_user_string(source.asset) for source in pipeline.sources.values()]
    job = dg.define_asset_job(
        pipeline.spec.pipeline,
        dg.AssetSelection.assets(*sources, *keys),
        description=pipeline.spec.description,
    )
    return dg.Definitions(assets=assets, asset_checks=gate_checks(pipeline), jobs=[job])
