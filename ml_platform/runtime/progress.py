"""Shows progress in a terminal or a notebook while values are made."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.status import Status

from ml_platform.runtime.execution import Materialized
from ml_platform.runtime.graph import Node

NAME_WIDTH = 36


def line_of(name: str, rows: int, seconds: float, partitions: int, reused: int) -> str:
    """Sums up in one line what was made: rows, seconds, partitions, and how many of them were there before."""
    made = f"{rows:>11,} rows" if rows else " " * 16
    parts = f"{partitions:>3} partitions" if partitions > 1 else ""
    if reused:
        parts = f"{parts:<16}reused" + (f" {reused}" if reused < partitions else "")
    return f"{name:<{NAME_WIDTH}}{made} {seconds:>6.1f} s {parts}".rstrip()


class Progress:
    """Shows what is being made now, and a line for each node that had to be computed; silent if it is told to be."""

    def __init__(self, *, is_shown: bool):
        self._console = Console(stderr=True, quiet=not is_shown)
        self._status = Status("", console=self._console)
        self._reused = 0

    def __enter__(self) -> Self:
        self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._status.stop()
        if self._reused:
            self._console.print(f"[green]✓[/] {self._reused} more were there already, and were reused", highlight=False)

    def update(self, node: Node, made: Sequence[Materialized] | None) -> None:
        """Takes news of a node: it begins, or it is done."""
        if made is None:
            self._status.update(f"{node.asset} ...")
            return
        if all(one.reused for one in made):
            self._reused += 1
            return
        rows = sum(one.artifact.facts.get("rows", 0) for one in made)
        seconds, reused = sum(one.seconds for one in made), sum(one.reused for one in made)
        line = line_of(node.asset, rows, seconds, len(made), reused)
        self._console.print(f"[green]✓[/] {line}", highlight=False, soft_wrap=True)

    def report(self, text: str) -> None:
        """Shows what long work is at."""
        self._console.print(f"        {text}", style="dim", highlight=False, markup=False, soft_wrap=True)
