"""Renders a class and what it needs as the text of a module."""

import ast
import sys
import textwrap
from collections.abc import Iterable

from ml_platform.notebooks.dependencies import Lifted
from ml_platform.notebooks.statements import DEFINITIONS, Statement

_WIDTH = 116


def module_text(lifted: Lifted, own: str) -> str:
    """Returns a module's text: docstring, imports, then constants, functions and classes as the notebook has them.

    Args:
        own: the top-level package that it goes to; imports of it stand last.
    """
    blocks = [_docstring(lifted), *_imports(lifted, own)]
    constants = [s.text for s in lifted.parts if not _is_definition(s)]
    # Constants stand close together, unless one of them needs a function or class above it.
    are_first = not any(_is_definition(s) for s in lifted.parts[: len(constants)])
    if constants and are_first:
        blocks.append("\n".join(constants))
    texts = [s.text for s in lifted.parts[len(constants) if are_first else 0 :]]
    return "\n\n".join(blocks) + "\n\n\n" + "\n\n\n".join(texts) + "\n"


def _is_definition(statement: Statement) -> bool:
    return isinstance(statement.node, DEFINITIONS)


def _docstring(lifted: Lifted) -> str:
    told = (ast.get_docstring(lifted.definition) or "").split("\n\n")[0]
    sentence = " ".join(told.split()).split(". ")[0].rstrip(".") or f"{lifted.name}, from {lifted.notebook.name}"
    text = f"{sentence}{'' if sentence[-1] in '?!' else '.'}".replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    return f'"""{textwrap.fill(text, _WIDTH, break_long_words=False)}"""'


def _imports(lifted: Lifted, own: str) -> list[str]:
    """Returns the imports that are needed, a block for each group: Python's, installed ones, the project's own."""
    found = {one for name, statements in lifted.imports.items() for s in statements for one in _bound(s.node, name)}
    groups: list[list[tuple[str, str, str]]] = [[], [], []]
    for module, name, alias in found:
        top = module.split(".")[0]
        groups[0 if top in sys.stdlib_module_names else 2 if top == own else 1].append((module, name, alias))
    # First in the file, or Python refuses it.
    future = ["from __future__ import annotations"] if lifted.is_future else []
    return [*future, *("\n".join(_block(group)) for group in groups if group)]


def _bound(node: ast.stmt, wanted: str) -> Iterable[tuple[str, str, str]]:
    """Lists what an import binds a name to: module, name in it (empty: the module itself), alias (empty: none)."""
    if isinstance(node, ast.Import):
        for one in node.names:
            if (one.asname or one.name.split(".")[0]) == wanted:
                yield one.name, "", one.asname or ""
    elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
        for one in node.names:
            if (one.asname or one.name) == wanted:
                yield str(node.module), one.name, "" if one.asname in (None, one.name) else str(one.asname)


def _block(group: Iterable[tuple[str, str, str]]) -> list[str]:
    """Returns import lines in isort's order: `import` before `from`, one `from` a module and one more an alias."""
    whole = [f"import {module}{f' as {alias}' if alias else ''}" for module, name, alias in sorted(group) if not name]
    froms: dict[tuple[str, str, str], list[str]] = {}
    for module, name, alias in group:
        if name:
            froms.setdefault((module, alias and name, alias), []).append(name)
    lines = []
    for (module, _, alias), names in froms.items():
        names.sort(key=_rank)
        lines.append((module, _rank(names[0]), f"from {module} import {', '.join(names)}{alias and f' as {alias}'}"))
    return [*whole, *(line for _, _, line in sorted(lines))]


def _rank(name: str) -> tuple[int, str]:
    # CONSTANTS, then Classes, then the rest, as ruff's isort sorts the names of one import.
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name
