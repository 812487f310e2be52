"""Prints what a run would do, and why, before it does it."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.markup import escape

from ml_platform.artifacts import default_store
from ml_platform.errors import first_few
from ml_platform.pipeline import load_pipeline
from ml_platform.pipeline.discovery import find_pipeline
from ml_platform.runtime.plan import RECOMPUTE, REUSE, Planned, plan

MOST_REASONS = 4  # of one asset, before the rest are counted


def plan_pipeline(pipeline: str, as_of: str = "latest") -> list[Planned]:
    """Plans a run of all partitions of a pipeline."""
    return plan(load_pipeline(find_pipeline(pipeline)), default_store(), as_of)


def print_plan(planned: Sequence[Planned], console: Console | None = None) -> None:
    """Prints a line for each asset with the reasons under it, and what all of it may take."""
    console = console or Console()
    width = max((len(one.asset) for one in planned), default=0)
    for one in planned:
        console.print(_line(one, width), soft_wrap=True, highlight=False)
        for reason in _reasons(one):
            console.print(f"            {escape(reason)}", soft_wrap=True, highlight=False, style="dim")
    for line in _summary(planned):
        console.print(line, soft_wrap=True, highlight=False)


def _line(one: Planned, width: int) -> str:
    if one.action == REUSE:
        made_by = f", made by {first_few(one.shared_with, 2)}" if one.shared_with else ""
        return f"[green]{'reuse':<10}[/] {one.asset:<{width}} {one.launcher}{made_by}"
    total = sum(one.partitions.values())
    parts = f"{one.partitions[RECOMPUTE]} of {total} partitions, " if total > 1 else ""
    took = "never timed" if one.seconds is None else f"took {one.seconds:.1f} s"
    return f"[yellow]{'recompute':<10}[/] {one.asset:<{width}} {one.launcher}, {parts}{took}"


def _reasons(one: Planned) -> Iterator[str]:
    yield from one.why[:MOST_REASONS]
    if len(one.why) > MOST_REASONS:
        yield f"and {len(one.why) - MOST_REASONS} more (--json lists all)"


def _summary(planned: Sequence[Planned]) -> Iterator[str]:
    shared = [one for one in planned if one.shared_with]
    if shared:
        parents = sorted({asset.partition("/")[0] for one in shared for asset in one.shared_with})
        yield f"{len(shared)} of {len(planned)} assets are shared by cache key with {', '.join(parents)}"
    due = [one for one in planned if one.action == RECOMPUTE]
    known, untimed = sum(one.seconds or 0.0 for one in due), sum(one.seconds is None for one in due)
    duration = f" ({known:.1f} s when last computed{f', {untimed} never timed' if untimed else ''})" if due else ""
    yield f"{len(planned) - len(due)} to reuse, {len(due)} to recompute{duration}"
    if any(reason.startswith("after ") for one in due for reason in one.why):
        yield "what comes after a recomputed asset is reused all the same where that comes out equal"
