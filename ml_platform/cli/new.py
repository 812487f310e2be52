"""The commands that write a new project or pipeline, and say what they wrote and what to do next."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ml_platform.errors import PlatformError
from ml_platform.project import find_project
from ml_platform.scaffolding.draft import Draft
from ml_platform.scaffolding.pipelines import new_pipeline
from ml_platform.scaffolding.projects import new_project

FEW_ROWS = 30


def make_project(name: str, console: Console | None = None) -> None:
    """Writes a project into the working folder and prints what to do next."""
    console = console or Console()
    root = new_project(name, Path.cwd())
    console.print(f"wrote the project [bold]{name}[/]: {root}", highlight=False, soft_wrap=True)
    console.print(
        f"\nNext\n  cd {name}\n  ml-platform new pipeline NAME --data FILE.csv --target COLUMN\n  make test",
        highlight=False, markup=False,
    )  # fmt: skip


def make_pipeline(name: str, data: Path, target: str, time: str | None, console: Console | None = None) -> None:
    """Writes a pipeline into the project and prints what was made of each column, and what to do next."""
    console = console or Console()
    project = find_project()
    if Path(name).name != name:
        raise PlatformError(f"{name!r} is not a pipeline's name: expected such as returns, without a path")
    folder = project.defs / name
    with console.status(f"reading {data}"):
        draft = new_pipeline(project, folder, data, target, time)
    print_draft(draft, console)
    console.print(f"wrote [bold]{name}[/]: {folder}", highlight=False, soft_wrap=True)
    console.print(
        f"\nNext\n  ml-platform run {name}\n  better features, other models: edit {folder / 'pipeline.yaml'} "
        f"(ml-platform steps lists what there is)\n  what an edit is worth, without touching production: "
        f"ml-platform try {name}", highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip


def print_draft(draft: Draft, console: Console) -> None:
    """Prints what a drafted pipeline makes of each column, and how it splits rows."""
    table = Table("column", "type", "missing", "different values", "used as", box=None, padding=(0, 2, 0, 0))
    for column in draft.table.columns.values():
        missing = f"{column.missing:,}" if column.missing else ""
        table.add_row(
            escape(column.name), column.type, missing, f"{column.distinct:,}", escape(_use(draft, column.name))
        )
    console.print(table, highlight=False)
    key = "its place in the file" if draft.numbered else ", ".join(draft.key)
    by_time, at_random = draft.partitions is not None, f"at random, {draft.shares['test']:.0%} to test"
    split = f"by {draft.time}, {draft.spans['test']} to test" if by_time else at_random
    console.print(
        f"{draft.table.rows:,} rows, identified by {key}; task {draft.task}; split {split}",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip
    if draft.rarest is not None and draft.rarest[1] < FEW_ROWS:
        console.print(
            f"only {draft.rarest[1]:,} rows have {draft.target} {draft.rarest[0]}: too few to train, validate and test "
            "on? Leave that class out, or get more rows", style="yellow", highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip


def _use(draft: Draft, column: str) -> str:
    if column == draft.target:
        unknown = draft.table.columns[column].missing
        meaning = f": {draft.positive} is true" if draft.positive else ""
        return f"target{meaning}" + (f"; {unknown:,} rows without one are left out" if unknown else "")
    if column == draft.time:
        return "time" + "".join(f", {part}" for part in draft.parts_of_time)
    if column in draft.numbers:
        return "number"
    if column in draft.categories:
        return "category"
    return f"left out: {draft.left_out[column]}" if column in draft.left_out else "key"
