"""Plans a run from cache keys alone: what it would reuse, what it would recompute, and why."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ml_platform.artifacts import Artifact, ArtifactStore
from ml_platform.artifacts.artifact import cache_key_of
from ml_platform.pipeline.compiled import CompiledPipeline
from ml_platform.runtime.context import RunContext
from ml_platform.runtime.environment import environment_of
from ml_platform.runtime.execution import computation_for, source_computation
from ml_platform.runtime.graph import Node, nodes_of, upstream_partitions
from ml_platform.runtime.materializers import Value, value_of
from ml_platform.runtime.split import split_over
from ml_platform.splits import Split
from ml_platform.versions.source import EFFECTS

REUSE, RECOMPUTE = "reuse", "recompute"


@dataclass(frozen=True)
class Planned:
    """What a run would do with one asset.

    Attributes:
        action: `reuse` if all partitions are there, else `recompute`.
        partitions: how many would be reused and recomputed.
        shared_with: the assets that gave first what would be reused, where that are others: those of a parent.
        why: what changed; of an input that is itself recomputed nobody knows yet whether it will come out equal.
        seconds: how long what would be recomputed took the last time, None if nobody knows.
    """

    asset: str
    action: str
    partitions: Mapping[str, int]
    why: list[str]
    launcher: str
    seconds: float | None
    shared_with: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values."""
        return asdict(self)


def plan(pipeline: CompiledPipeline, store: ArtifactStore, as_of: str = "latest") -> list[Planned]:
    """Plans a run of all partitions, each asset after its inputs.

    Raises:
        DataError: no partition to split at, or too few.
    """
    keys = next((source.spans.keys for source in pipeline.sources.values() if source.spans), [])
    run = RunContext(store, pipeline=pipeline, resolve_split=lambda: split_over(pipeline, keys, as_of))
    planner = _Planner(run)
    return [planner.plan(node) for node in nodes_of(pipeline).values()]


def is_known(run: RunContext, nodes: Mapping[str, Node], node: Node, partitions: Sequence[str | None]) -> bool:
    """Returns whether making these partitions of a node, of what is there now, would only take what is known.

    Raises:
        PlatformError: inputs that are not there.
    """
    if not node.inputs or any(run.store.current(node.asset, partition) is None for partition in partitions):
        return False  # sources look at their files; what was never made here is not worth asking for a device
    # Of the heads alone: in a run the inputs are materialized before, so what is current is what it will be made of.
    inputs = {name: _current(run, nodes[asset]) for name, asset in node.inputs.items()}
    return all(run.known(computation_for(run, node, inputs, partition)) is not None for partition in partitions)


def _current(run: RunContext, node: Node) -> Value:
    found = {key: run.store.current(node.asset, key) for key in node.keys}
    return value_of(run, node, {key: artifact for key, artifact in found.items() if artifact is not None})


@dataclass
class _Planner:
    """Walks the nodes in order, knowing of each partition the artifact that a run would find, or that there is none."""

    run: RunContext
    nodes: dict[str, Node] = field(default_factory=dict)
    found: dict[str, dict[str | None, Artifact | None]] = field(default_factory=dict)

    def plan(self, node: Node) -> Planned:
        self.nodes[node.asset] = node
        found, reasons = self.found.setdefault(node.asset, {}), dict[str, None]()
        for partition in node.keys:
            artifact, why = self._look(node, partition)
            found[partition] = artifact
            reasons |= dict.fromkeys(why)
        missing = [partition for partition, artifact in found.items() if artifact is None]
        return Planned(
            node.asset,
            RECOMPUTE if missing else REUSE,
            {REUSE: len(found) - len(missing), RECOMPUTE: len(missing)},
            list(reasons),
            node.launcher[0],
            self._seconds(node, missing) if missing else 0.0,
            sorted({artifact.asset for artifact in found.values() if artifact is not None} - {node.asset}),
        )

    def _look(self, node: Node, partition: str | None) -> tuple[Artifact | None, list[str]]:
        """Finds what a run would reuse for one partition, else says why it would not."""
        if not node.is_cacheable:
            return None, ["made anew each time: a parameter or a global of its code cannot be told"]
        # An input that is recomputed may come out equal or not: until then nobody knows this cache key.
        waits = self._waits_for(node, partition)
        computation = None if waits else self._computation(node, partition)
        known = None if computation is None else self.run.store.find(cache_key_of(computation))
        if known is not None:
            return known, []
        former = self.run.store.current(node.asset, partition)
        if former is None or not former.computation:
            return None, ["never made"]
        reasons = list(self._code_reasons(node, former))
        reasons += computation_changes(
            former.computation, self._known_of(node, former) if computation is None else computation
        )
        reasons += [f"after {asset}" for asset in waits]
        return None, reasons or ["what it gave before is gone or damaged"]

    def _known_of(self, node: Node, former: Artifact) -> Mapping[str, Any]:
        """Returns what is known of a computation while its inputs are not."""
        # The former inputs stand for those to come, so that only what surely differs is told.
        split = {"split": self.run.split.facts()} if node.depends_on_split else {}
        return {**former.computation, "environment": environment_of(node), **split}

    def _code_reasons(self, node: Node, former: Artifact) -> Iterator[str]:
        version = former.computation["code"]
        if version == node.code_version or node.code is None:
            return
        then = self.run.store.noted(f"code/{version}")
        if then is None:
            yield f"code {version} is now {node.code_version}"
        else:
            yield from code_changes(then, node.code, node.places)

    def _waits_for(self, node: Node, partition: str | None) -> list[str]:
        """Lists the inputs that would be recomputed before."""
        split = self._split(node)
        waits: dict[str, None] = {}
        for _, asset, keys in upstream_partitions(self.run.pipeline, node, split, partition):
            known = self.found[asset]
            if any(known.get(key) is None for key in (known if keys is None else keys)):
                waits[asset] = None
        return list(waits)

    def _computation(self, node: Node, partition: str | None) -> Mapping[str, Any] | None:
        if node.kind == "source":
            return source_computation(node, self.run.pipeline.table(node.part), partition)
        return computation_for(
            self.run, node, {name: self._value(asset) for name, asset in node.inputs.items()}, partition
        )

    def _value(self, asset: str) -> Value:
        parts = {key: artifact for key, artifact in self.found[asset].items() if artifact is not None}
        return value_of(self.run, self.nodes[asset], parts)

    def _split(self, node: Node) -> Split | None:
        return self.run.split if node.depends_on_split else None

    def _seconds(self, node: Node, partitions: Sequence[str | None]) -> float | None:
        noted = self.run.store.noted(f"seconds/{node.asset}") or {}
        known = [noted[key or ""] for key in partitions if (key or "") in noted]
        return round(sum(known), 3) if known else None


def code_changes(before: Mapping[str, Any], now: Mapping[str, Any], places: Mapping[str, str]) -> Iterator[str]:
    """Lists which parameters, symbols (with file and line) and libraries differ between two codes."""
    yield from differences("", before["parameters"], now["parameters"])
    for kind, number in now["platform"].items():
        if (former := before.get("platform", {}).get(kind)) != number:
            yield f"the platform's {kind}: version {former} → {number}"
    for label, change in _changes(before["symbols"], now["symbols"]):
        yield f"{_display_path(places.get(label, ''))} {_named(label)} {change}".strip()
    for name in sorted({*before["distributions"], *now["distributions"]}):
        versions = [code["distributions"].get(name, "not used") for code in (before, now)]
        if versions[0] != versions[1]:
            yield f"{name} {versions[0]} → {versions[1]}"


def _named(label: str) -> str:
    """Names a symbol, or a file beside a module, for people."""
    module, _, name = label.rpartition(":" if ":" in label else ".")
    return f"{module} on import" if name == EFFECTS else name


def _display_path(place: str) -> str:
    """Shortens the path of a place below the working folder."""
    return place.removeprefix(f"{Path.cwd()}/")


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for label in dict.fromkeys([*before, *now]):
        if before.get(label) != now.get(label):
            yield label, "is new" if label not in before else "is gone" if label not in now else "changed"


def differences(path: str, before: Any, now: Any) -> Iterator[str]:
    """Lists the parameters that differ, each by its path."""
    before, now = _without_tuple(before), _without_tuple(now)
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*before, *now]):
            inner = path if key in ("made by", "parameters", "mapping") else f"{path}.{key}".lstrip(".")
            yield from differences(inner, before.get(key), now.get(key))
    elif _are_alike(before, now):
        for place, (old, new) in enumerate(zip(map(_without_tuple, before), map(_without_tuple, now), strict=True)):
            named = isinstance(old, list) and old and isinstance(old[0], str) and old[:1] == new[:1]
            inner = f"{path}.{old[0] if named else place}"
            yield from differences(inner, *((old[1], new[1]) if named and len(old) == len(new) == 2 else (old, new)))
    elif before != now:
        yield f"{path}: {_short(before)} → {_short(now)}"


def _without_tuple(described: Any) -> Any:
    return described["tuple"] if isinstance(described, Mapping) and "tuple" in described else described


def _are_alike(before: Any, now: Any) -> bool:
    """Returns whether two lists of parts are worth comparing part by part."""
    if not isinstance(before, list) or not isinstance(now, list) or len(before) != len(now):
        return False
    return any(isinstance(item, list | Mapping) for item in before)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def computation_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Lists what else differs: an input's content, the split, the environment, the file of a source."""
    for name in ("environment", "split", "threshold", "from", "until"):
        yield from differences(name, before.get(name), now.get(name))
    if before.get("file") != now.get("file"):
        yield "the file changed"
    for label, change in _changes(before.get("inputs", {}), now.get("inputs", {})):
        yield f"input {label} {change}"
