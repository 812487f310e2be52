"""Options that all assets of a pipeline share: keys, partitions, groups, tags, descriptions."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from ml_platform.launchers import ISOLATED_TAG, LAUNCHER_TAG
from ml_platform.pipeline.compiled import CompiledPipeline
from ml_platform.runtime import Node
from ml_platform.sources import Partitions


def partitions_of(spans: Partitions | None) -> dg.PartitionsDefinition | None:
    """Returns Dagster's partitions for ours; their keys are equal."""
    # Dagster gets the end too: without one it would ask for partitions of months that the data do not have yet.
    if spans is None:
        return None
    start, end = spans.start.isoformat(), spans.end.isoformat()
    if spans.every == "week":
        # Dagster counts the days of the week from Sunday.
        day = spans.start.isoweekday() % 7
        return dg.WeeklyPartitionsDefinition(start_date=start, end_date=end, day_offset=day)
    kinds = {"day": dg.DailyPartitionsDefinition, "month": dg.MonthlyPartitionsDefinition}
    return kinds[spans.every](start_date=start, end_date=end)


def describe_frame(text: str, grain: str, key: Sequence[str]) -> str:
    """Describes a frame: what it is, what one row is, and what identifies it."""
    return f"{text}\n\nOne row: {grain}. Key: {', '.join(key)}."


def selected_partitions(context: dg.AssetExecutionContext) -> list[str | None]:
    """Lists the partitions that this run makes of this asset; `[None]` where there are none."""
    return list(context.partition_keys) if context.assets_def.partitions_def else [None]


def asset_options(pipeline: CompiledPipeline, node: Node) -> dict[str, Any]:
    """Returns what every asset of a pipeline has: key, code version, group, owners, policies, launcher."""
    return {
        "key": node.asset.split("/"),
        "code_version": node.code_version,
        "group_name": pipeline.spec.pipeline,  # with a group for each stage, ten pipelines are eighty boxes
        "owners": pipeline.spec.owners,
        # One run for a range of partitions; on assets without partitions too, else Dagster splits the run.
        "backfill_policy": dg.BackfillPolicy.single_run(),
        "tags": {
            "ml_platform/stage": node.stage,
            "ml_platform/pipeline": pipeline.spec.pipeline,
            LAUNCHER_TAG: node.launcher[0],  # for people to filter by, and for checks that run without their asset
        },
        "op_tags": op_tags(node.launcher, isolated=node.isolated),
    }


def op_tags(launchers: Sequence[str], *, isolated: bool = False) -> dict[str, Any]:
    """Returns the tags that name the launchers of a step, and whether it must not share the run's process."""
    # On the op, not on the asset: Dagster keeps op tags in the snapshot of a run's plan, which nobody can overwrite.
    launcher = launchers[0] if len(launchers) == 1 else list(launchers)
    return {LAUNCHER_TAG: launcher, **({ISOLATED_TAG: "true"} if isolated else {})}


def asset_key(name: str) -> dg.AssetKey:
    """Turns a store's name (`lake/flights`) into Dagster's key."""
    return dg.AssetKey(name.split("/"))
