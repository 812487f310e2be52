"""Finds the first partition whose cache key or bytes differ between two runs, and why."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ml_platform.artifacts import Artifact, ArtifactStore, Frames
from ml_platform.artifacts.frames import KIND as FRAME
from ml_platform.artifacts.reports import KIND as REPORT
from ml_platform.artifacts.reports import read_report
from ml_platform.contract.equality import first_difference
from ml_platform.runtime.graph import Node
from ml_platform.runtime.plan import code_changes, computation_changes, differences


@dataclass(frozen=True)
class Difference:
    """The first thing in which two runs differ.

    Attributes:
        what: `missing`, `cache_key` (another computation) or `bytes` (the same computation, another result).
        column, row: where frames differ; the row is a position.
        details: what was found on each side, or what differs between the computations.
    """

    asset: str
    partition: str | None
    what: str
    column: str | None
    row: int | None
    details: list[str]

    def __str__(self) -> str:
        label = self.asset if self.partition is None else f"{self.asset}[{self.partition}]"
        place = f", column {self.column!r}" if self.column else ""
        place += f", row {self.row}" if self.row is not None else ""
        return f"{label}{place}: other {self.what}: {'; '.join(self.details)}"

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Side:
    """One run: its name for people, and the store that its heads are in."""

    name: str
    store: ArtifactStore


def compare(nodes: Mapping[str, Node], one: Side, other: Side) -> Iterator[tuple[Node, int, Difference | None]]:
    """Compares every partition's cache key and bytes, node by node in order, as far as the first that differs.

    Returns:
        Each node, how many partitions were compared, and in what it differs.
    """
    for node in nodes.values():
        count = 0
        for partition in node.keys:
            found = _compare_one(node, partition, one, other)
            count += 1
            if found is not None:
                # What comes after differs because of this one, and would hide it.
                yield node, count, found
                return
        yield node, count, None


def _compare_one(node: Node, partition: str | None, one: Side, other: Side) -> Difference | None:
    left, right = (side.store.current(node.asset, partition) for side in (one, other))
    if left is None or right is None:
        gone = [side.name for side, artifact in ((one, left), (other, right)) if artifact is None]
        # On neither side: a gate refused both, for one.
        return None if len(gone) == 2 else Difference(node.asset, partition, "missing", None, None, gone)
    if left.cache_key != right.cache_key:
        reasons = list(_why(one.store, other.store, left, right))
        return Difference(node.asset, partition, "cache_key", None, None, reasons)
    if left.digest == right.digest:
        return None
    column, row, details = _where(node, partition, one, other, left, right)
    return Difference(node.asset, partition, "bytes", column, row, details)


def _why(one: ArtifactStore, other: ArtifactStore, left: Artifact, right: Artifact) -> Iterator[str]:
    """Lists what differs between two computations."""
    then = one.noted(f"code/{left.computation['code']}")
    now = other.noted(f"code/{right.computation['code']}")
    if then and now:
        yield from code_changes(then, now, {})
    yield from computation_changes(left.computation, right.computation)


def _where(
    node: Node, partition: str | None, one: Side, other: Side, left: Artifact, right: Artifact
) -> tuple[str | None, int | None, list[str]]:
    if left.kind == FRAME:
        frames = [Frames(side.store, node.asset, {partition: part}) for side, part in ((one, left), (other, right))]
        found = first_difference(frames[0].read_all(), frames[1].read_all(), (one.name, other.name))
        return found or (None, None, ["equal values in other bytes"])
    if left.kind == REPORT:
        facts = [read_report(side.store, part).facts for side, part in ((one, left), (other, right))]
        return None, None, list(differences("", *facts))[:5] or ["a picture or the page differs"]
    files = [file.name for file in left.files if file not in right.files]
    state = list(differences("", left.facts, right.facts))[:3]
    return None, None, [f"what it learnt differs ({', '.join(files)})", *state]
