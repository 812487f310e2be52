"""Reads what notebook cells or a script bind in `__main__`: classes and functions by source, the rest by value."""

import ast
import inspect
import linecache
import symtable
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ml_platform.versions.description import Undescribable, describe, paths_in
from ml_platform.versions.syntax import chains_in, imports_in, source_of


@dataclass(frozen=True)
class Binding:
    """What a name of `__main__` is bound to now.

    Attributes:
        content: what its version is a hash of: the syntax trees of a class or function, the description of a value.
        is_source: whether it is a class or function.
        uses: dotted paths of what it uses, `__main__.NAME` for what `__main__` binds itself.
    """

    content: Any
    is_source: bool
    uses: Sequence[str]


def read_binding(name: str) -> Binding:
    """Reads a name of `__main__`; globals that it uses have the values that they have now.

    Raises:
        Undescribable: a global that has no plain value, or a class or function whose source is not to be had.
    """
    value = vars(sys.modules["__main__"])[name]
    if not inspect.isclass(value) and not inspect.isfunction(value):
        description = describe(value)
        return Binding(description, False, list(paths_in(description)))
    text = _source_of(value, name)
    tree = source_of(text)
    # Python's own symbol table decides which names are globals: a local or a parameter of the same name is none.
    read = set(_globals_in(symtable.symtable(text, name, "exec")))
    chains = [chain.split(".") for chain in chains_in(tree)]
    used = [path for first, *rest in chains if first in read for path in _path_of(first, rest)]
    return Binding([ast.dump(node) for node in tree.body], True, [*used, *dict(imports_in(tree, None)).values()])


def _path_of(name: str, rest: Sequence[str]) -> Iterator[str]:
    """Yields the dotted path of a global of `__main__`; none for a builtin, or a name that is bound later."""
    known = vars(sys.modules["__main__"])
    if name not in known:
        return
    value = known[name]
    if inspect.ismodule(value):
        yield ".".join([value.__name__, *rest])
    elif getattr(value, "__module__", "__main__") != "__main__" and hasattr(value, "__qualname__"):
        yield f"{value.__module__}.{value.__qualname__}"
    else:
        yield f"__main__.{name}"


def _globals_in(table: symtable.SymbolTable) -> Iterator[str]:
    """Lists the names that code reads from its module's globals; names of its own functions are not among them."""
    for symbol in table.get_symbols():
        if symbol.is_global() or (table.get_type() == "module" and symbol.is_referenced()):
            yield symbol.get_name()
    for inner in table.get_children():
        yield from _globals_in(inner)


def _source_of(value: Any, name: str) -> str:
    """Returns the source of a class or function, formatted by Python itself.

    IPython keeps the text of a cell in `linecache`, under the file name that the cell's code objects have. A class has
    no code object of its own, so one of its functions leads to the cell.
    """
    parts = vars(value).values() if inspect.isclass(value) else [value]
    for function in (inspect.unwrap(part) for part in parts if inspect.isfunction(part)):
        text = "".join(linecache.getlines(function.__code__.co_filename))
        for node in ast.parse(text).body:
            if getattr(node, "name", None) == value.__name__:
                return ast.unparse(node)
    raise Undescribable(f"the source of __main__.{name} is not to be had")
