"""What would a run do, before it does it?"""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from ml_platform.artifacts import default_store
from ml_platform.errors import first_few
from ml_platform.pipeline import load_pipeline
from ml_platform.pipeline.discovery import find_pipeline
from ml_platform.runtime.plan import RECOMPUTE, REUSE, Planned, plan

SHOWN_REASONS = 4


def plan_pipeline(pipeline: str, as_of: str = "latest") -> list[Planned]:
    """Plans a run of all partitions of a pipeline."""
    return plan(load_pipeline(find_pipeline(pipeline)), default_store(), as_of)


def print_plan(planned: Sequence[Planned], console: Console | None = None) -> None:
    """Prints a line for each asset with the reasons under it, and what all of it may take."""
    console = console or Console()
    width = max((len(one.asset) for one in planned), default=0)
    for one in planned:
        console.print(_line(one, width), soft_wrap=True, highlight=False)
        more = len(one.why) - SHOWN_REASONS
        for reason in [*one.why[:SHOWN_REASONS], *([f"and {more} more (--json lists all)"] if more > 0 else [])]:
            console.print(f"            {escape(reason)}", soft_wrap=True, highlight=False, style="dim")
    shared = [asset for one in planned for asset in one.shared_with]
    if shared:
        parents = ", ".join(sorted({asset.partition("/")[0] for asset in shared}))
        count = sum(bool(one.shared_with) for one in planned)
        console.print(f"{count} of {len(planned)} assets are shared by address with {parents}", highlight=False)
    todo = [one for one in planned if one.action == RECOMPUTE]
    known, unknown = sum(one.seconds or 0.0 for one in todo), sum(one.seconds is None for one in todo)
    told = f" ({known:.1f} s when last computed" + (f", {unknown} never timed)" if unknown else ")") if todo else ""
    console.print(f"{len(planned) - len(todo)} to reuse, {len(todo)} to recompute{told}", highlight=False)
    if any(reason.startswith("after ") for one in todo for reason in one.why):
        console.print(
            "what comes after a recomputed asset is reused all the same where that comes out equal", soft_wrap=True
        )


def _line(one: Planned, width: int) -> str:
    if one.action == REUSE:
        made_by = f", made by {first_few(one.shared_with, 2)}" if one.shared_with else ""
        return f"[green]{'reuse':<10}[/] {one.asset:<{width}} {one.launcher}{made_by}"
    total = sum(one.partitions.values())
    parts = f"{one.partitions[RECOMPUTE]} of {total} partitions, " if total > 1 else ""
    took = "never timed" if one.seconds is None else f"took {one.seconds:.1f} s"
    return f"[yellow]{'recompute':<10}[/] {one.asset:<{width}} {one.launcher}, {parts}{took}"
