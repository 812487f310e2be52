"""Builds the compute function of an asset, which materializes or reuses its partitions."""

import base64
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg

from ml_platform.artifacts import Artifact, ArtifactStore
from ml_platform.artifacts.reports import read_report
from ml_platform.components.options import selected_partitions
from ml_platform.components.progress import with_progress
from ml_platform.components.reuse import marked
from ml_platform.launchers.leases.meter import spent
from ml_platform.pipeline.compiled import CompiledPipeline
from ml_platform.resources import SplitResource, StoreResource
from ml_platform.resources.refusal import refusals_as_failures
from ml_platform.runtime import Node, RunContext, materialize
from ml_platform.runtime.provenance import provenance_of

_FIGURES: Mapping[str, tuple[str, ...]] = {
    "fitted": ("rows_fit", "split"),
    "model": ("rows_train", "split"),
    "selection": ("best", "ranked"),
    "evaluation": ("best", "rows_train", "rows_test", "split"),
    "approved": ("model", "digest"),
}


def body_of(pipeline: CompiledPipeline, node: Node) -> Callable[..., Any]:
    """Returns a function for Dagster's decorator: it makes or reuses the run's partitions of a node."""

    def compute(
        context: dg.AssetExecutionContext, store: StoreResource, split: SplitResource, **inputs: Any
    ) -> dg.Output:
        with refusals_as_failures():
            opened = store.open()
            run = RunContext(
                opened,
                store.reuse,
                context.log.info,
                pipeline=pipeline,
                resolve_split=lambda: split.resolve(pipeline, opened),
            )
            partitions = selected_partitions(context)
            made = materialize(run, node, inputs, partitions)
            context.add_output_metadata(costs(context))
            if node.kind in ("frame", "predictions"):
                return dg.Output(with_progress(context, made, len(partitions)))
            (one,) = made
            return dg.Output(one, metadata=_metadata(opened, node, one.artifact))

    return marked(compute, pipeline, node)


def costs(context: dg.AssetExecutionContext) -> dict[str, Any]:
    """Returns what making an asset has cost so far, failed tries included."""
    return spent(context.run, context.get_step_execution_context().step.key)


def _metadata(store: ArtifactStore, node: Node, artifact: Artifact) -> dict[str, Any]:
    """Collects a value's figures and pictures as metadata for Dagster's UI."""
    is_report = node.kind in ("selection", "evaluation", "approved")
    facts = read_report(store, artifact).facts if is_report else artifact.facts
    metadata = {name: facts[name] for name in _FIGURES[node.kind]}
    if node.kind == "model":
        metadata |= {f"validation_{name}": value for name, value in facts["validation"].items()}
    if node.kind == "evaluation":
        metadata |= facts["metrics"]
        metadata["made_of"] = dg.MetadataValue.json(provenance_of(store, artifact))
    # Inside the event: Dagster's UI shows no files of other machines.
    pictures = artifact.facts.get("pictures", [])
    return metadata | {name: _picture(name, store.file(artifact, f"{name}.png").read_bytes()) for name in pictures}


def _picture(name: str, png: bytes) -> dg.MetadataValue:
    return dg.MetadataValue.md(f"![{name}](data:image/png;base64,{base64.b64encode(png).decode()})")
