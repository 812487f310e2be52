"""Which code makes a value, and which version of it?

The closure of a class or function: every function, class and constant of the project that it uses, found in the
source, without importing any of it, and the files beside it that it names. Formatting, comments, docstrings, the
annotations of functions and a transformer's `output_schema` (it checks columns and makes none) have no say.
What comes from an installed distribution counts by that distribution's version.
"""

import ast
import hashlib
import inspect
import json
import linecache
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ml_platform.pipeline.describing import Undescribable, describe
from ml_platform.pipeline.distributions import distributions_of
from ml_platform.pipeline.modules import (
    EFFECTS,
    WHOLE,
    Module,
    chains_in,
    files_named,
    imports_in,
    project_file,
    read_module,
    source_of,
)


@dataclass(frozen=True)
class Code:
    """What makes a value.

    Attributes:
        symbols: dotted name of each function, class and constant used, to a hash of its syntax tree.
        places: the same names, to file and line; for people, no part of the version.
        distributions: installed distributions used, and `python`, to their versions.
    """

    symbols: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)
    distributions: Mapping[str, str] = field(default_factory=dict)

    def __or__(self, other: "Code") -> "Code":
        return Code(
            {**self.symbols, **other.symbols},
            {**self.places, **other.places},
            {**self.distributions, **other.distributions},
        )


def hash_of(value: Any) -> str:
    """Names a plain JSON value by what is in it."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()


def code_of(paths: Iterable[str]) -> Code:
    """Collects the closure of what dotted paths name, as it stands on disk now.

    Raises:
        Undescribable: what a notebook defines uses a global that has no plain value.
    """
    return _Closure().of(paths)


class _Closure:
    """Follows names from symbol to symbol, each once."""

    def __init__(self) -> None:
        self.symbols: dict[str, str] = {}
        self.places: dict[str, str] = {}
        self.imported: set[str] = set()  # top-level names of what is not the project's
        self._modules: dict[str, Module | None] = {}
        self._pending: list[tuple[str, str]] = []
        self._seen: set[tuple[str, str]] = set()

    def of(self, paths: Iterable[str]) -> Code:
        for path in paths:
            self._want_path(path)
        while self._pending:
            self._take(*self._pending.pop())
        return Code(self.symbols, self.places, distributions_of(self.imported))

    def _want_path(self, path: str) -> None:
        """Takes the longest prefix of a dotted path that is a module."""
        parts = path.split(".")
        if parts[0] == "__main__":
            self._take_live(parts[1])
            return
        for count in range(len(parts), 0, -1):
            if self._module(".".join(parts[:count])) is not None:
                self._want(".".join(parts[:count]), parts[count] if count < len(parts) else WHOLE)
                return
        self.imported.add(parts[0])

    def _want(self, module: str, symbol: str) -> None:
        if (module, symbol) not in self._seen:
            self._seen.add((module, symbol))
            self._pending.append((module, symbol))

    def _module(self, name: str) -> "Module | None":
        if name not in self._modules:
            path = project_file(name)
            self._modules[name] = None if path is None else read_module(name, path, path.stat().st_mtime_ns)
        return self._modules[name]

    def _take(self, name: str, symbol: str) -> None:
        module = self._module(name)
        if module is None:
            self._want_path(f"{name}.{symbol}")
            return
        if symbol in module.imports and symbol not in module.symbols:
            self._want_path(module.imports[symbol])
            return
        statements = module.statements(symbol)
        if not statements:
            submodule = f"{name}.{symbol}"
            self._want(submodule, WHOLE) if self._module(submodule) else self._want(name, WHOLE)
            return
        label = f"{name}.{symbol}"
        self.symbols[label] = hash_of([ast.dump(statement) for statement in statements])[:16]
        self.places[label] = f"{module.path}:{statements[0].lineno}"
        if module.effects:
            self._want(name, EFFECTS)
        for statement in statements:
            self._follow(module, statement)
            for path in files_named(module, statement):
                self.symbols[f"{name}:{path.name}"] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
                self.places[f"{name}:{path.name}"] = f"{path}:1"

    def _follow(self, module: "Module", statement: ast.stmt) -> None:
        local = dict(imports_in(statement, module))
        for path in local.values():
            self._want_path(path)
        for chain in chains_in(statement):
            first, *rest = chain.split(".")
            if first in module.symbols:
                self._want(module.name, first)
            elif first in module.imports or first in local:
                self._want_import({**module.imports, **local}[first], rest)

    def _take_live(self, name: str) -> None:
        """Takes what a notebook's cell or a script defines; the values of its globals are what they are now."""
        label = f"__main__.{name}"
        if label in self.symbols:
            return
        value = vars(sys.modules["__main__"])[name]
        if not inspect.isclass(value) and not inspect.isfunction(value):
            self.symbols[label] = hash_of(describe(value))[:16]
            return
        module = source_of(_live_source(value, label))
        self.symbols[label] = hash_of([ast.dump(statement) for statement in module.body])[:16]
        self.places[label] = "__main__:1"
        for chain in chains_in(module):
            self._follow_live(*chain.split("."))
        for path in dict(imports_in(module, None)).values():
            self._want_path(path)

    def _follow_live(self, first: str, *rest: str) -> None:
        known = vars(sys.modules["__main__"])
        if first not in known:
            return
        value = known[first]
        if inspect.ismodule(value):
            self._want_import(value.__name__, list(rest))
        elif getattr(value, "__module__", "__main__") != "__main__" and hasattr(value, "__qualname__"):
            self._want_path(f"{value.__module__}.{value.__qualname__}")
        else:
            self._take_live(first)

    def _want_import(self, path: str, rest: list[str]) -> None:
        """Follows `module.name` one name further, where what was imported is a module of the project."""
        if rest and self._module(path) is not None:
            self._want(path, rest[0])
        else:
            self._want_path(path)


def _live_source(value: Any, label: str) -> str:
    """Finds the source of a class or function that a script or a notebook's cell defines."""
    functions = (
        [part for part in vars(value).values() if inspect.isfunction(part)] if inspect.isclass(value) else [value]
    )
    for function in functions:
        text = "".join(linecache.getlines(function.__code__.co_filename))
        for node in ast.parse(text).body:
            if getattr(node, "name", None) == value.__name__:
                return ast.unparse(node)
    raise Undescribable(f"the source of {label} is not to be had")
