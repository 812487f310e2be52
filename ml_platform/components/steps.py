"""Builds the assets of steps: their frames and, of those that learn, their fitted state."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from ml_platform.components.compute import body_of
from ml_platform.components.options import asset_key, asset_options, describe_frame, partitions_of
from ml_platform.io_managers.metadata import column_schema
from ml_platform.pipeline.compiled import CompiledPipeline, CompiledStep
from ml_platform.runtime import Node

_IN_DUCKDB = tuple(f"ml_platform.transformers.{name}" for name in ("SQL", "Filter", "Aggregate", "Rolling"))


def step_assets(pipeline: CompiledPipeline, nodes: Mapping[str, Node]) -> list[dg.AssetsDefinition]:
    """Returns the assets of all steps."""
    return [asset for step in pipeline.steps.values() for asset in _assets_of(pipeline, nodes, step)]


def _assets_of(
    pipeline: CompiledPipeline, nodes: Mapping[str, Node], step: CompiledStep
) -> Iterator[dg.AssetsDefinition]:
    if step.learns:
        yield _fitted_asset(pipeline, nodes[step.fitted_asset], step)
    yield _frame_asset(pipeline, nodes[step.asset], step)


def _frame_asset(pipeline: CompiledPipeline, node: Node, step: CompiledStep) -> dg.AssetsDefinition:
    ins = _inputs(pipeline, step, steps_back=step.spans.steps_back(step.lookback) if step.spans else 0)
    if step.learns:
        ins["fitted_state"] = dg.AssetIn(asset_key(step.fitted_asset))
    return dg.asset(
        **asset_options(pipeline, node),
        ins=ins,
        description=describe_frame(step.use.description or f"`{step.use.uses}`.", step.grain, step.key),
        kinds={_kind(step), "parquet", node.stage},
        partitions_def=partitions_of(step.spans),
        io_manager_key="frames",
        metadata=_declared(step),
    )(body_of(pipeline, node))


def _fitted_asset(pipeline: CompiledPipeline, node: Node, step: CompiledStep) -> dg.AssetsDefinition:
    return dg.asset(
        **asset_options(pipeline, node),
        ins=_inputs(pipeline, step),
        description=f"What `{step.use.uses}` learnt for step {step.name}, from the training rows alone.",
        kinds={_kind(step), node.stage},
        io_manager_key="objects",
        metadata=_declared(step, with_schema=False),
    )(body_of(pipeline, node))


def _inputs(pipeline: CompiledPipeline, step: CompiledStep, steps_back: int = 0) -> dict[str, dg.AssetIn]:
    """Declares a step's inputs; some may be looked back into."""
    ins = {}
    for position, name in enumerate(step.use.inputs):
        looks_back = step.looks_back_into(position) and steps_back > 0 and pipeline.spans_of(name) is not None
        mapping = (
            dg.TimeWindowPartitionMapping(start_offset=-steps_back, allow_nonexistent_upstream_partitions=True)
            if looks_back
            else None
        )
        ins[name] = dg.AssetIn(asset_key(pipeline.asset_of(name)), partition_mapping=mapping)
    return ins


def _declared(step: CompiledStep, *, with_schema: bool = True) -> dict[str, Any]:
    """Shows what a step is made with, and the columns that are known before it runs."""
    metadata: dict[str, Any] = {
        "ml_platform/uses": list(step.types),
        "uses": step.use.uses,
        "with": dg.MetadataValue.json(dict(step.use.with_)),
    }
    if with_schema and step.schema.columns and not step.schema.is_open:
        metadata["dagster/column_schema"] = column_schema(step.schema)
    return metadata


def _kind(step: CompiledStep) -> str:
    if step.use.uses in _IN_DUCKDB:
        return "duckdb"
    return "scikitlearn" if step.use.uses.startswith("sklearn.") else "pandas"
