"""Holds the store, pipeline, split and logger that every materialization of a run shares."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ml_platform.artifacts import Artifact, ArtifactStore, Origin
from ml_platform.artifacts import frames as frame_files
from ml_platform.artifacts import objects as object_files
from ml_platform.artifacts import reports as report_files
from ml_platform.artifacts.artifact import cache_key_of
from ml_platform.artifacts.store import Write
from ml_platform.pipeline.compiled import CompiledPipeline
from ml_platform.runtime.environment import limited_threads
from ml_platform.runtime.graph import Node
from ml_platform.splits import Split
from ml_platform.versions.stale_modules import refuse_changed_modules

_KINDS = {
    "source": frame_files.KIND, "frame": frame_files.KIND, "predictions": frame_files.KIND,
    "fitted": object_files.KIND, "model": object_files.KIND,
}  # fmt: skip


@dataclass(frozen=True)
class SourceContext:
    """What reading a table needs beside it; a table belongs to no pipeline.

    Attributes:
        reuse: whether to take values that the same computation gave before.
        report: told what long work is at, for people who wait.
    """

    store: ArtifactStore
    reuse: bool = True
    report: Callable[[str], None] = lambda _: None

    @property
    def files(self) -> Mapping[str, str]:
        """The texts that cache keys were made from, where that was not just now."""
        return {}

    def known(self, computation: Mapping[str, Any] | None) -> Artifact | None:
        """Finds what a computation gave before, if that may be reused."""
        return self.store.find(cache_key_of(computation)) if computation is not None and self.reuse else None

    def add(self, node: Node, partition: str | None, write: Write, origin: Origin) -> Artifact:
        """Computes a value and keeps it; what was asked to be fresh takes the place of what was known.

        Raises:
            PlatformError: code that was changed after this process imported it.
        """
        # Just before computing: a notebook may have edited the module since the pipeline was loaded.
        if node.code is not None:
            refuse_changed_modules(node.modules, self.files)
        # Else the store would find the former value under this key and keep that (the first writer wins).
        if not self.reuse and origin.computation:
            self.store.forget(cache_key_of(origin.computation))
        with limited_threads(node):
            return self.store.add(node.asset, partition, kind_of(node), write, origin)

    def describe(self, node: Node) -> None:
        """Keeps what a code version stands for: a plan compares with it."""
        if node.is_cacheable and self.store.noted(f"code/{node.code_version}") is None:
            self.store.note(f"code/{node.code_version}", node.code)


@dataclass(frozen=True)
class RunContext(SourceContext):
    """What making needs beside a node and its inputs.

    Attributes:
        resolve_split: gives the split between training, validation and test.
    """

    pipeline: CompiledPipeline = field(kw_only=True)
    resolve_split: Callable[[], Split] = field(kw_only=True)

    @property
    def files(self) -> Mapping[str, str]:
        """The texts that the pipeline was loaded from."""
        return self.pipeline.inspection.files

    @cached_property
    def split(self) -> Split:
        """The split, resolved when it is first asked for."""
        return self.resolve_split()


def kind_of(node: Node) -> str:
    """Returns which kind of artifact a node's value is."""
    return _KINDS.get(node.kind, report_files.KIND)
