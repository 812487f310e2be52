"""Checks that the estimator and Dagster give equal cache keys, bytes and predictions, from empty stores."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from ml_platform.artifacts import ArtifactStore, Frames
from ml_platform.contract.equality import first_difference
from ml_platform.errors import PlatformError
from ml_platform.pipeline import CompiledPipeline, load_pipeline
from ml_platform.pipeline.discovery import find_pipeline
from ml_platform.runtime import nodes_of
from ml_platform.runtime.diff import Difference, Side, compare

RUNTIMES = ("in process", "dagster")


@dataclass
class Parity:
    """What a comparison found.

    Attributes:
        environments: what each runtime recorded of its process.
        compared: asset to the partitions that were compared.
        predictions: rows whose probabilities, asked of the estimator, were compared with Dagster's frames.
    """

    pipeline: str
    rows: int | None
    environments: Mapping[str, Any]
    compared: dict[str, int] = field(default_factory=dict)
    predictions: int = 0
    first_difference: Difference | None = None

    @property
    def is_equal(self) -> bool:
        """Whether nothing differed."""
        return self.first_difference is None

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values."""
        return {"equal": self.is_equal, **asdict(self)}


def run_parity(
    name: str,
    rows: int | None = None,
    console: Console | None = None,
    planted: Mapping[str, Mapping[str, str]] | None = None,
) -> Parity:
    """Runs both runtimes and compares every value's cache key and bytes, and every prediction.

    Args:
        rows: about how many rows of each partitioned source to take; None: all of them.
        planted: runtime to environment variables of its process alone; for tests, which plant differences.

    Raises:
        PlatformError: if a runtime failed, with what it said.
    """
    console = console or Console(quiet=True)
    path = find_pipeline(name)
    pipeline = load_pipeline(path)
    # Stores of their own: in one store the second runtime would reuse what the first made, and equal it by that.
    with tempfile.TemporaryDirectory(prefix="ml_platform-parity-") as folder:
        environments = {}
        for runtime in RUNTIMES:
            with console.status(f"{runtime}: making everything from nothing"):
                environments[runtime] = _run_side(runtime, path, rows, Path(folder), (planted or {}).get(runtime, {}))
            console.print(f"{runtime}: {environments[runtime]['seconds']:.1f} s", highlight=False)
        parity = Parity(pipeline.spec.pipeline, rows, environments)
        _compare(parity, pipeline, Path(folder), console)
    return parity


def _run_side(
    runtime: str, path: Path, rows: int | None, folder: Path, environment: Mapping[str, str]
) -> dict[str, Any]:
    base = _base(folder, runtime)
    base.mkdir()
    command = [sys.executable, "-m", "ml_platform.cli.parity_child", runtime, str(path), str(base)]
    done = subprocess.run(  # noqa: S603  (our own module, under our own interpreter)
        [*command, *([str(rows)] if rows else [])],
        env={**os.environ, "DAGSTER_HOME": str(base), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise PlatformError(f"{runtime}: the run failed:\n{done.stderr.strip() or done.stdout.strip()}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])  # libraries may print before
    return answer


def _base(folder: Path, runtime: str) -> Path:
    return folder / runtime.replace(" ", "-")


def _compare(parity: Parity, pipeline: CompiledPipeline, folder: Path, console: Console) -> None:
    one, other = (Side(runtime, ArtifactStore(str(_base(folder, runtime) / "artifacts"))) for runtime in RUNTIMES)
    for node, count, difference in compare(nodes_of(pipeline), one, other):
        parity.compared[node.asset] = count
        parity.first_difference = difference
        if difference is not None:
            console.print(f"[red]✗[/] {escape(str(difference))}", soft_wrap=True, highlight=False)
            return
        parts = f"{count} partitions, " if count > 1 else ""
        console.print(
            f"[green]✓[/] {node.asset:<36} {parts}equal cache keys, equal bytes", highlight=False, soft_wrap=True
        )
    _compare_predictions(parity, pipeline, one, other, console)


def _compare_predictions(parity: Parity, pipeline: CompiledPipeline, one: Side, other: Side, console: Console) -> None:
    """Compares the estimator's own answers with the frames of predictions that Dagster made."""
    # The estimator answers by a way of its own, in memory, which shares no bytes with the materialized frames.
    asset = pipeline.spec.asset("predictions")
    answers = Frames.current(one.store, "estimator/predictions").read_all()
    frames = Frames.current(other.store, asset, other.store.partitions(asset) or None).read_all()
    parity.predictions = len(frames)
    found = first_difference(answers, frames[list(answers.columns)], (one.name, other.name))
    if found is not None:
        column, row, details = found
        parity.first_difference = Difference(asset, None, "predictions", column, row, details)
        console.print(f"[red]✗[/] {escape(str(parity.first_difference))}", soft_wrap=True, highlight=False)
        return
    console.print(
        f"[green]✓[/] {len(frames):,} predictions of the estimator, equal bits", highlight=False, soft_wrap=True
    )
