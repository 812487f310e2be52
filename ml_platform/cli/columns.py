"""Prints which columns each step gives, as far as that is known before anything runs."""

from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ml_platform.errors import PlatformError, expected_one_of
from ml_platform.pipeline import load_pipeline
from ml_platform.pipeline.discovery import find_pipeline
from ml_platform.schema import Schema


def columns_of(pipeline: str, part: str | None = None) -> dict[str, Schema]:
    """Returns the schema of each source and step, in order, or of the one that is asked for.

    Raises:
        PlatformError: no such source or step.
    """
    compiled = load_pipeline(find_pipeline(pipeline))
    schemas = {name: source.schema for name, source in compiled.sources.items()}
    schemas |= {name: step.schema for name, step in compiled.steps.items()}
    if part is None:
        return schemas
    if part not in schemas:
        raise PlatformError(
            f"{compiled.spec.pipeline} has no source or step {part!r}: {expected_one_of(part, schemas)}"
        )
    return {part: schemas[part]}


def print_columns(schemas: Mapping[str, Schema], console: Console | None = None) -> None:
    """Prints a line for each source and step; of one alone a table with the types."""
    console = console or Console()
    if len(schemas) == 1:
        ((name, schema),) = schemas.items()
        table = Table("column", "type", title=name)
        for column in schema.columns:
            table.add_row(escape(column.name), escape(str(column)))
        console.print(table)
        if schema.is_open:
            console.print("and columns that are known only when it has run (it learns them, or does not say)")
        return
    for name, schema in schemas.items():
        more = ", ..." if schema.is_open else ""
        console.print(f"[bold]{name}[/]: {escape(', '.join(schema.names))}{more}", soft_wrap=True, highlight=False)
