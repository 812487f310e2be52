"""Reads and writes frames for Dagster assets, a range of partitions in one call."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from ml_platform.artifacts import Artifact, ArtifactStore, Frames
from ml_platform.artifacts.frames import KIND, write_frame
from ml_platform.errors import ArtifactError
from ml_platform.io_managers.metadata import asset_name, column_schema, describe, show_version
from ml_platform.resources import StoreResource
from ml_platform.resources.refusal import refusals_as_failures
from ml_platform.runtime import Materialized
from ml_platform.schema import Schema


class FrameIOManager(dg.ConfigurableIOManager):
    """Keeps frames as Parquet, one artifact per partition.

    An asset returns a pandas DataFrame, a mapping of partition to DataFrame, or an iterator of `Materialized`; it gets
    `Frames`, or one DataFrame where its parameter says so.
    """

    store: dg.ResourceDependency[StoreResource]

    @refusals_as_failures()
    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Writes all partitions, then makes them current: a refusal on the way leaves all as they were."""
        store, asset = self.store.open(), asset_name(context)
        partitions: list[str | None] = [*context.asset_partition_keys] if context.has_asset_partitions else [None]
        made: list[Materialized] = []
        for one in _made(store, obj, partitions, asset):
            if one.artifact.partition not in partitions:
                extra = one.artifact.partition
                raise ArtifactError(f"{asset}: asked for partitions {partitions}, the asset returned {extra!r} too")
            made.append(one)
            _show(context, one)  # events are kept as they come, so a long backfill shows how far it is
        artifacts = [one.artifact for one in made]
        _require_all(artifacts, partitions, asset)
        store.promote(artifacts)
        show_version(context, artifacts)
        rows = sum(artifact.facts["rows"] for artifact in artifacts)
        schema = Schema.from_json(artifacts[-1].facts["schema"])
        context.add_output_metadata({"dagster/row_count": rows, "dagster/column_schema": column_schema(schema)})

    @refusals_as_failures()
    def load_input(self, context: dg.InputContext) -> Any:
        """Returns the frames of the asked partitions, to be read when needed."""
        asset = asset_name(context)
        partitions = list(context.asset_partition_keys) if context.has_asset_partitions else None
        frames = Frames.current(self.store.open(), asset, partitions)
        # By name: importing pandas to compare would cost each process of a run half a second.
        if context.dagster_type.typing_type.__name__ == "DataFrame":
            frames.require(partitions or [None])
            return frames.only(partitions or [None]).read_all()
        return frames


def _made(store: ArtifactStore, obj: Any, partitions: Sequence[str | None], asset: str) -> Iterator[Materialized]:
    """Takes what an asset returned, writing what is not in the store yet and refusing what is no frame."""
    import pandas as pd

    if isinstance(obj, pd.DataFrame):
        if len(partitions) > 1:
            raise ArtifactError(
                f"{asset}: one DataFrame for {len(partitions)} partitions; return a mapping by partition"
            )
        obj = {partitions[0]: obj}
    if isinstance(obj, Mapping):
        for partition, frame in obj.items():
            label = asset if partition is None else f"{asset}[{partition}]"
            yield Materialized(_write(store, asset, partition, _frame_of(frame, label)), False, 0.0)
    elif isinstance(obj, Iterator):
        yield from obj
    else:
        _frame_of(obj, asset)


def _frame_of(value: Any, label: str) -> Any:
    import pandas as pd

    if not isinstance(value, pd.DataFrame):
        raise ArtifactError(f"{label}: expected a pandas DataFrame, found {type(value).__name__}: {value!r:.80}")
    return value


def _write(store: ArtifactStore, asset: str, partition: str | None, frame: Any) -> Artifact:
    return store.add(asset, partition, KIND, lambda folder: write_frame(folder, frame))


def _require_all(artifacts: list[Artifact], partitions: list[str | None], asset: str) -> None:
    written = {artifact.partition for artifact in artifacts}
    missing = [key for key in partitions if key not in written]
    if missing:
        raise ArtifactError(f"{asset}: asked for partitions {partitions}, the asset returned none for {missing}")


def _show(context: dg.OutputContext, made: Materialized) -> None:
    """Adds a partition's own figures to its own event."""
    artifact = made.artifact
    if artifact.partition is None:
        context.add_output_metadata(describe(artifact, reused=made.reused))
        return
    own = {"dagster/partition_row_count": artifact.facts["rows"], **describe(artifact, reused=made.reused)}
    context.step_context.add_asset_metadata(own, asset_key=context.asset_key, partition_key=artifact.partition)
