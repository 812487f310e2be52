"""Runs the nodes that a notebook or test asks for, in dependency order, in this process."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ml_platform.artifacts import Artifact, Fitted, Frames, Report
from ml_platform.errors import DataError, first_few
from ml_platform.runtime.context import RunContext
from ml_platform.runtime.execution import Materialized, materialize
from ml_platform.runtime.graph import Node, nodes_of, upstream_partitions
from ml_platform.runtime.materializers import Value, value_of

Wanted = Mapping[str, Sequence[str | None]]
OnProgress = Callable[[Node, "Sequence[Materialized] | None"], None]


class Session:
    """Makes a pipeline's values in this process, moving no head of the store.

    Args:
        partitions: the partitions to make where all are needed, None for all that are declared.
        on_progress: called for each node before and after it is made, for people who wait.
    """

    def __init__(self, run: RunContext, partitions: Sequence[str] | None, on_progress: OnProgress):
        self.run = run
        self.nodes = nodes_of(run.pipeline)
        self.artifacts: dict[str, dict[str | None, Artifact]] = {}
        self.partitions = None if partitions is None else self._checked(partitions)
        self._on_progress = on_progress

    def _checked(self, partitions: Sequence[str]) -> list[str]:
        known = next((source.spans.keys for source in self.run.pipeline.sources.values() if source.spans), [])
        unknown = [key for key in partitions if key not in known]
        if unknown:
            raise DataError(f"no partition {first_few(unknown)}; there are: {first_few(known, 12)}")
        return [key for key in known if key in set(partitions)]

    def keys_of(self, asset: str) -> list[str | None]:
        """Lists the chosen partitions of an asset; `[None]` where it has none."""
        spans = self.nodes[asset].spans
        if spans is None:
            return [None]
        return [*(spans.keys if self.partitions is None else self.partitions)]

    def materialize(self, *assets: str) -> None:
        """Makes assets and all that they need, for the chosen partitions."""
        wanted = self._demand({asset: self.keys_of(asset) for asset in assets})
        for asset, partitions in wanted.items():
            node, known = self.nodes[asset], self.artifacts.setdefault(asset, {})
            missing = [key for key in partitions if key not in known]
            if not missing:
                continue
            self._on_progress(node, None)
            made = list(materialize(self.run, node, self._inputs(node), missing))
            known |= {one.artifact.partition: one.artifact for one in made}
            self._on_progress(node, made)

    def value(self, asset: str) -> Value:
        """Returns what was made of an asset, its partitions in order."""
        parts = self.artifacts[asset]
        # In order, for readers concatenate; a demand may have added an early partition late.
        ordered = {key: parts[key] for key in sorted(parts, key=str)}
        return value_of(self.run, self.nodes[asset], ordered)

    def frames(self, asset: str) -> Frames:
        """Returns what was made of an asset of frames."""
        value = self.value(asset)
        assert isinstance(value, Frames)
        return value

    def fitted(self, asset: str) -> Fitted:
        """Returns what was made of an asset that was fitted."""
        value = self.value(asset)
        assert isinstance(value, Fitted)
        return value

    def report(self, asset: str) -> Report:
        """Returns what was made of an asset that reports."""
        value = self.value(asset)
        assert isinstance(value, Report)
        return value

    def _inputs(self, node: Node) -> dict[str, Value]:
        return {name: self.value(asset) for name, asset in node.inputs.items()}

    def _demand(self, targets: Wanted) -> dict[str, list[str | None]]:
        """Lists the partitions of each asset that the targets need, each asset after its inputs."""
        wanted: dict[str, set[str | None]] = {asset: set(keys) for asset, keys in targets.items()}
        # Backwards: nodes stand after their inputs, so all who need an asset are seen before it is its turn.
        for asset in reversed(self.nodes):
            for key in wanted.get(asset, ()):
                for _, source, keys in self._needed(self.nodes[asset], key):
                    wanted.setdefault(source, set()).update(self.keys_of(source) if keys is None else keys)
        return {asset: sorted(wanted[asset], key=str) for asset in self.nodes if asset in wanted}

    def _needed(self, node: Node, key: str | None) -> Iterator[tuple[str, str, Any]]:
        return upstream_partitions(self.run.pipeline, node, self.run.split if node.depends_on_split else None, key)
