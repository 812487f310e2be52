"""Parses a SQL expression and lists the columns that it reads; refuses what is more than one expression."""

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from ml_platform.errors import DataError
from ml_platform.transformers.sql import SQL

_REFUSED = {
    "SUBQUERY": "a SELECT of its own; write a step of SQL",
    "STAR": "a * of columns; name them",
    "PARAMETER": "a parameter; write its value",
}


@lru_cache(maxsize=64)
def columns_read(expression: str, who: str) -> tuple[str, ...]:
    """Returns the columns that an expression reads, in the order in which they stand.

    Args:
        who: what the expression is for, for messages.

    Raises:
        DataError: not one SQL expression, or one that reads more than the row, or rows, that it is given.

    >>> columns_read("delay > 15 AND dest <> 'BOS'", "where")
    ('delay', 'dest')
    """
    # Compared with the parse of `SELECT NULL`: whatever else differs (FROM, WHERE, LIMIT) came from text that is more
    # than an expression.
    node, shape = _parsed(expression, who), _parsed("NULL", who)
    found = node.pop("select_list")
    shape.pop("select_list")
    if node != shape or len(found) != 1 or found[0]["alias"]:
        raise DataError(f"{who}: expected one SQL expression, found {expression!r}")
    parts = list(_walk(found))
    for part in parts:
        if part.get("class") in _REFUSED:
            raise DataError(f"{who}: {expression!r} has {_REFUSED[part['class']]}")
    names = [part["column_names"][-1] for part in parts if part.get("class") == "COLUMN_REF"]
    return tuple(dict.fromkeys(names))


def _parsed(expression: str, who: str) -> dict[str, Any]:
    """Returns the parsed SELECT of nothing but the expression, without positions in the text."""
    # DuckDB's own parser, so that what is accepted here is what runs later.
    with SQL("", key=[])._connect() as connection:
        text = connection.execute("SELECT json_serialize_sql(?)", [f"SELECT\n{expression}\n"]).fetchall()[0][0]
    parsed = json.loads(text, object_hook=_without_places)
    if parsed["error"] or len(parsed["statements"]) != 1:
        told = parsed.get("error_message", "several statements")
        raise DataError(f"{who}: expected a SQL expression, found {expression!r} ({told})")
    node: dict[str, Any] = parsed["statements"][0]["node"]
    return node if "select_list" in node else {**node, "select_list": []}


def _without_places(node: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in node.items() if not name.startswith("query_location")}


def _walk(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for item in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _walk(item)
