"""Refuses columns that a step needs and lacks, of a wrong type, or whose names clash."""

from collections.abc import Sequence

import pandas as pd

from ml_platform.errors import DataError, require_columns
from ml_platform.schema import Schema, frame_schema

NUMBERS = "integer|number"


def require_typed(given: Schema | pd.DataFrame, columns: Sequence[str], types: str, who: str) -> None:
    """Refuses columns that are surely not there, or are of another type.

    Args:
        given: a schema, or a frame.
        types: of `ml_platform.schema`, with `|` between them.
        who: what needs the columns, for the message.

    Raises:
        DataError: with the column, what was expected and what was found.
    """
    # A text is a sequence, too: of its letters.
    if isinstance(columns, str):
        raise DataError(f"{who}: expected a list of columns, found {columns!r}; write [{columns!r}]")
    is_open = isinstance(given, Schema) and given.is_open
    if not is_open:
        require_columns(given.names if isinstance(given, Schema) else given.columns, columns, who)
    schema = given if isinstance(given, Schema) else frame_schema(given[list(columns)])
    allowed = types.split("|")
    for column in (c for c in schema.columns if c.name in columns):
        # A declared column may be of several types; all of them must be allowed, as any may come.
        if not {*column.type.split("|")} <= {*allowed, "any"}:
            raise DataError(f"{who}: column {column.name!r} is {column.type}; expected {' or '.join(allowed)}")


def require_no_clash(added: Sequence[str], present: Sequence[str], who: str) -> None:
    """Refuses learnt column names that stand twice, or that the frame has already.

    Raises:
        DataError: with the name.
    """
    for place, name in enumerate(added):
        if name in added[:place] or name in present:
            where = "the frame has already" if name in present else "it gives twice"
            raise DataError(f"{who}: it would add a column {name!r}, which {where}; rename one of them before")
