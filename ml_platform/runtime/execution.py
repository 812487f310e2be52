"""Computes or reuses each partition of a node: describes the computation, looks its cache key up, materializes."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml_platform.artifacts import Artifact, ArtifactStore, Fitted, Frames, Origin
from ml_platform.artifacts.artifact import NOWHERE
from ml_platform.artifacts.frames import write_frame
from ml_platform.artifacts.lineage import lineage, require_same_lineage
from ml_platform.artifacts.store import Write
from ml_platform.errors import naming
from ml_platform.runtime.context import RunContext, SourceContext
from ml_platform.runtime.environment import environment_of
from ml_platform.runtime.graph import Node, upstream_partitions
from ml_platform.runtime.materializers import MATERIALIZERS, Value, artifacts_of, content_digest
from ml_platform.sources import Source


@dataclass(frozen=True)
class Materialized:
    """One partition of a node: its artifact, and whether it was there before."""

    artifact: Artifact
    reused: bool
    seconds: float


def materialize(
    run: RunContext, node: Node, inputs: Mapping[str, Value], partitions: Sequence[str | None]
) -> Iterator[Materialized]:
    """Makes partitions of a node one after the other, reusing each that the same computation gave before.

    Nothing is visible to readers of the store until it is promoted.

    Args:
        inputs: by the names that the node has for them; frames with all partitions that may be needed.

    Raises:
        PlatformError: what was refused, with the asset's name.
    """
    if node.kind == "source":
        yield from materialize_source(run, node, run.pipeline.table(node.part), partitions)
        return
    run.describe(node)
    materializer = MATERIALIZERS[node.kind](run, node)
    seconds = {}
    for partition in partitions:
        started = time.perf_counter()
        used = inputs_for_partition(run, node, inputs, partition)
        computation = computation_of(node, run, used, materializer.decided_by(used))
        known = run.known(computation)
        # Ids, not digests: the manifest leads back to the very versions, whose bytes others may share.
        ids = {artifact.label: artifact.id for artifact in artifacts_of(materializer.manifest_inputs(used))}
        origin = Origin(ids, computation or {}, _lineage(node, used))
        if known is not None:
            # A manifest of its own over the same bytes: its lineage says what it would be made of now.
            artifact = run.store.adopt(known, node.asset, partition, origin)
        else:
            artifact = run.add(node, partition, materializer.writer(used, partition), origin)
            seconds[partition or ""] = time.perf_counter() - started
        yield Materialized(artifact, known is not None, time.perf_counter() - started)
    _note_seconds(run.store, node, seconds)


def computation_for(
    run: RunContext, node: Node, inputs: Mapping[str, Value], partition: str | None
) -> dict[str, Any] | None:
    """Describes the computation of one partition of a node, without doing it."""
    used = inputs_for_partition(run, node, inputs, partition)
    return computation_of(node, run, used, MATERIALIZERS[node.kind](run, node).decided_by(used))


def inputs_for_partition(
    run: RunContext, node: Node, inputs: Mapping[str, Value], partition: str | None
) -> dict[str, Value]:
    """Keeps of the inputs only what one partition of a node is made from.

    Raises:
        ArtifactError: a partition that is not there.
    """
    split = run.split if node.depends_on_split else None
    used: dict[str, Value] = {}
    for name, _, keys in upstream_partitions(run.pipeline, node, split, partition):
        value = inputs[name]
        used[name] = value.only(keys) if isinstance(value, Frames) else value
    return used


def computation_of(
    node: Node, run: RunContext, used: Mapping[str, Value], decided_by: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Describes a computation: equal ones give equal bytes. None where the code cannot be told."""
    if not node.is_cacheable:
        return None
    digests = {
        (name if artifact.partition is None else f"{name}[{artifact.partition}]"): content_digest(artifact)
        for name, value in used.items()
        for artifact in artifacts_of({name: value})
    }
    # Where the split chooses the rows it counts, even if it happens to choose the same partitions as another one.
    split = {"split": run.split.facts()} if node.depends_on_split else {}
    environment = environment_of(node)
    return {"node": f"{node.kind}:{node.name}", "code": node.code_version, "environment": environment,
            "inputs": digests, **split, **decided_by}  # fmt: skip


def _lineage(node: Node, used: Mapping[str, Value]) -> dict[str, Any]:
    """Collects which versions of which steps the value went through, its own included; refuses a mixture."""
    if node.kind in ("selection", "approved"):
        return {}  # reports of reports: no row went through them
    with naming(node.asset):
        if node.kind == "evaluation":
            return _evaluated_lineage(used)
        through = lineage(artifacts_of(used))
    # Models and predictions go through steps and are none: nothing after them asks how they were made.
    if node.kind != "frame":
        return through
    own = {"code": node.code_version}
    fitted = used.get("fitted_state")
    if fitted is not None and not isinstance(fitted, Frames) and fitted.ref is not None:
        own |= {"fitted": fitted.ref.digest, "split": fitted.facts["split"]}
    return {**through, node.part: own}


def _evaluated_lineage(used: Mapping[str, Value]) -> dict[str, Any]:
    """Refuses test rows that were made in another way than those that a model was trained on."""
    # Each model against the features first: the message then names the model that is to be trained again.
    models = [value for value in used.values() if isinstance(value, Fitted)]
    features = used["features"]
    assert isinstance(features, Frames)
    for model in models:
        require_same_lineage(features, model)
    return lineage([model.ref for model in models if model.ref is not None])


def _note_seconds(store: ArtifactStore, node: Node, seconds: Mapping[str, float]) -> None:
    """Keeps how long each partition took when it was last computed; a plan shows it."""
    if seconds:
        name = f"seconds/{node.asset}"
        store.note(name, {**(store.noted(name) or {}), **{key: round(took, 4) for key, took in seconds.items()}})


def materialize_source(
    run: SourceContext, node: Node, table: Source, partitions: Sequence[str | None]
) -> Iterator[Materialized]:
    """Reads a table's partitions, reusing those of an equal file; all of them are checked before any is kept."""
    run.describe(node)
    started = time.perf_counter()
    computations = {partition: source_computation(node, table, partition) for partition in partitions}
    known = {partition: run.known(computation) for partition, computation in computations.items()}
    missing = [partition for partition, artifact in known.items() if artifact is None]
    frames = table.read(missing) if missing else {}
    seconds = {}
    for partition in partitions:
        found = known[partition]
        if found is not None:
            yield Materialized(run.store.adopt(found, node.asset, partition, NOWHERE), True, 0.0)
            continue
        write = _frame_writer(frames[partition])
        artifact = run.add(node, partition, write, Origin(computation=computations[partition]))
        # One file is read and checked once for all partitions, so each is said to take its share.
        seconds[partition or ""] = (time.perf_counter() - started) / len(missing)
        yield Materialized(artifact, False, seconds[partition or ""])
    _note_seconds(run.store, node, seconds)


def source_computation(node: Node, table: Source, partition: str | None) -> dict[str, Any]:
    """Describes the reading of a file."""
    # Both ends: with other spans the same key is another set of rows.
    end = str(table.partitions.end_of(partition)) if table.partitions and partition else None
    return {"node": f"source:{node.asset}", "code": node.code_version, "file": table.content_hash,
            "from": partition, "until": end}  # fmt: skip


def _frame_writer(frame: Any) -> Write:
    return lambda folder: write_frame(folder, frame)
