"""Knows whether a step would only reuse what is in the store, so that no launcher need start anything for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ml_platform.compat.dagster import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)
from ml_platform.compat.dagster_steps import StepHandlerContext, plan_context_of, step_in
from ml_platform.errors import PlatformError
from ml_platform.launchers.backends.local_steps import key_of
from ml_platform.pipeline.compiled import CompiledPipeline
from ml_platform.resources import SplitResource, StoreResource
from ml_platform.runtime import Node, RunContext, nodes_of
from ml_platform.runtime.plan import is_known

_MADE_BY = "ml_platform_made_by"  # an asset's function has its pipeline and node under this name


@dataclass(frozen=True)
class WouldReuse:
    """Answers for the steps of a run, from cache keys alone.

    Args:
        store: where the run's artifacts lie.
        split: as of when the run splits its rows.
    """

    store: StoreResource
    split: SplitResource

    def __call__(self, context: StepHandlerContext, *, computes_alike: bool) -> bool:
        """Returns whether all that the step would make is there.

        Args:
            computes_alike: whether its launcher has the threads and devices of this process; where bytes depend on
                them, what is known here says nothing of there.
        """
        found = _node_of(context)
        if found is None:
            return False
        pipeline, node = found
        if not computes_alike and (node.depends_on_threads or node.depends_on_device):
            return False
        # As this run is configured: the executor's own resources are those of the definitions.
        run = context.dagster_run
        resources: Any = run.run_config.get("resources", {})
        store = self.store.model_copy(update=_config(resources, "store"))
        split = self.split.model_copy(update=_config(resources, "split"))
        opened = store.open()
        read = RunContext(opened, store.reuse, pipeline=pipeline, resolve_split=lambda: split.resolve(pipeline, opened))
        try:
            return is_known(read, nodes_of(pipeline), node, _partitions(run.tags, node))
        except PlatformError:
            return False  # whatever is wrong, the step says so itself, where it belongs


def _node_of(context: StepHandlerContext) -> tuple[CompiledPipeline, Node] | None:
    step = step_in(context, key_of(context))
    definition = plan_context_of(context).job.get_definition().graph.get_node(step.node_handle).definition
    # Dagster keeps the function behind its own, so what was written on it is found again in the process of a run.
    body = getattr(getattr(definition, "compute_fn", None), "decorated_fn", None)
    found: tuple[CompiledPipeline, Node] | None = getattr(body, _MADE_BY, None)
    return found


def _config(resources: Mapping[str, Any], name: str) -> dict[str, Any]:
    return dict(resources.get(name, {}).get("config", {}))


def _partitions(tags: Mapping[str, str], node: Node) -> list[str | None]:
    """Lists the partitions of an asset that a run with these tags makes."""
    if node.spans is None:
        return [None]
    one = tags.get(PARTITION_NAME_TAG)
    first, last = tags.get(ASSET_PARTITION_RANGE_START_TAG, one), tags.get(ASSET_PARTITION_RANGE_END_TAG, one)
    keys = node.spans.keys
    if first not in keys or last not in keys:
        raise PlatformError(f"{node.asset}: the run's tags name no partitions of it")
    return [*keys[keys.index(first) : keys.index(last) + 1]]


def marked(body: Any, pipeline: CompiledPipeline, node: Node) -> Any:
    """Writes on an asset's function what it makes."""
    setattr(body, _MADE_BY, (pipeline, node))
    return body
