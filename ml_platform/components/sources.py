"""Builds the assets of the lake from tables."""

import warnings
from collections.abc import Sequence

import dagster as dg

from ml_platform.components.compute import costs
from ml_platform.components.options import describe_frame, op_tags, partitions_of, selected_partitions
from ml_platform.io_managers.metadata import column_schema
from ml_platform.launchers import LAUNCHER_TAG
from ml_platform.pipeline.signatures import code_of_source
from ml_platform.resources import StoreResource
from ml_platform.resources.refusal import refusals_as_failures
from ml_platform.runtime import Node
from ml_platform.runtime.context import SourceContext
from ml_platform.runtime.execution import materialize_source
from ml_platform.runtime.graph import source_node
from ml_platform.sources import Source
from ml_platform.versions.closure import runner_code


def source_assets(tables: Sequence[Source], owners: Sequence[str] = ()) -> list[dg.AssetsDefinition]:
    """Returns one asset for each table, partitioned as the table is."""
    with warnings.catch_warnings():
        # Of backfill policies. Dagster hides it while it loads definitions; a run may import a source by itself.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return _source_assets(tables, owners)


def _source_assets(tables: Sequence[Source], owners: Sequence[str]) -> list[dg.AssetsDefinition]:
    code = runner_code("source")
    nodes = [source_node(table, own | code if (own := code_of_source(table)) else code) for table in tables]
    return [_source_asset(node, table, owners) for node, table in zip(nodes, tables, strict=True)]


def _source_asset(node: Node, table: Source, owners: Sequence[str]) -> dg.AssetsDefinition:

    @dg.asset(
        key=table.asset.split("/"),
        code_version=node.code_version,
        description=describe_frame(table.description, table.grain, table.key),
        group_name="lake",
        kinds={"csv", "parquet"},
        owners=list(owners),
        partitions_def=partitions_of(table.partitions),
        backfill_policy=dg.BackfillPolicy.single_run(),
        io_manager_key="frames",
        metadata={"dagster/column_schema": column_schema(table.schema)},
        tags={"ml_platform/stage": "source", LAUNCHER_TAG: node.launcher[0]},
        op_tags=op_tags(node.launcher),
    )
    def read(context: dg.AssetExecutionContext, store: StoreResource) -> dg.Output:
        with refusals_as_failures():
            run = SourceContext(store.open(), store.reuse)
            made = materialize_source(run, node, table, selected_partitions(context))
            # Added here, as the IO manager puts metadata on single partitions, and the costs are of all.
            context.add_output_metadata(costs(context))
            return dg.Output(made)

    return read
