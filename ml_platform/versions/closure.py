"""Which code makes a value, and which version of it?

The closure of a class or function: every function, class and constant of the project that it uses, found in the
source, without importing any of it, and the files beside it that it names. Formatting, comments, docstrings, the
annotations of functions and a transformer's `output_schema` (it checks columns and makes none) have no say.
What comes from an installed distribution counts by that distribution's version, and the platform's own base classes
by a number (`ml_platform/versions/runner.py`).
"""

import ast
import hashlib
import inspect
import json
import linecache
import symtable
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from ml_platform.versions.description import Undescribable, describe, paths_in
from ml_platform.versions.distributions import distributions_of
from ml_platform.versions.runner import numbered, runner_version
from ml_platform.versions.source import (
    EFFECTS,
    WHOLE,
    Module,
    chains_in,
    imports_in,
    project_file,
    read_module,
    read_statement,
    source_of,
)


@dataclass(frozen=True)
class Code:
    """What makes a value.

    Attributes:
        symbols: dotted name of each function, class and constant used, to a hash of its syntax tree.
        places: the same names, to file and line; for people, no part of the version.
        distributions: installed distributions used, and `python`, to their versions.
        platform: what the platform does around it, by kind (`frame`, `contract`), to the number of its version.
    """

    symbols: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)
    distributions: Mapping[str, str] = field(default_factory=dict)
    platform: Mapping[str, int] = field(default_factory=dict)

    def __or__(self, other: "Code") -> "Code":
        return Code(
            {**self.symbols, **other.symbols},
            {**self.places, **other.places},
            {**self.distributions, **other.distributions},
            {**self.platform, **other.platform},
        )


def hash_of(value: Any) -> str:
    """Names a plain JSON value by what is in it."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()


@lru_cache(maxsize=8192)
def _hash_of_symbol(module: Module, symbol: str) -> str:
    return hash_of([ast.dump(statement) for statement in module.statements(symbol)])[:16]


def runner_code(kind: str) -> Code:
    """Gives what the platform does around the classes that a pipeline names, for one kind of value."""
    version = runner_version(kind)
    return Code(distributions=distributions_of(version.libraries), platform={kind: version.number})


def code_of(paths: Iterable[str]) -> Code:
    """Collects the closure of what dotted paths name, as it stands on disk now.

    Raises:
        Undescribable: what a notebook defines uses a global that has no plain value.
    """
    wanted = list(paths)
    closure = _Closure()
    code = closure.of(wanted)
    # Schemas have no say, unless something that makes the value asks for one.
    return _Closure(with_schemas=True).of(wanted) if closure.asks_for_schemas else code


class _Closure:
    """Follows names from symbol to symbol, each once."""

    def __init__(self, *, with_schemas: bool = False) -> None:
        self.asks_for_schemas = False
        self._with_schemas = with_schemas
        self.symbols: dict[str, str] = {}
        self.places: dict[str, str] = {}
        self.platform: dict[str, int] = {}
        self.imported: set[str] = set()  # top-level names of what is not the project's
        self._modules: dict[str, Module | None] = {}
        self._pending: list[tuple[str, str]] = []
        self._seen: set[tuple[str, str]] = set()

    def of(self, paths: Iterable[str]) -> Code:
        for path in paths:
            self._want_path(path)
        while self._pending:
            self._take(*self._pending.pop())
        return Code(self.symbols, self.places, distributions_of(self.imported), self.platform)

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
        kind = numbered(module)
        if kind is not None:
            version = runner_version(kind)
            self.platform[kind] = version.number
            self.imported.update(version.libraries)
        elif (module, symbol) not in self._seen:
            self._seen.add((module, symbol))
            self._pending.append((module, symbol))

    def _module(self, name: str) -> "Module | None":
        if name not in self._modules:
            path = project_file(name)
            self._modules[name] = None if path is None else self._read(name, path)
        return self._modules[name]

    def _read(self, name: str, path: Path) -> "Module":
        return read_module(name, path, path.stat().st_mtime_ns, with_schemas=self._with_schemas)

    def _take(self, name: str, symbol: str) -> None:
        module = self._module(name)
        if module is None:
            self._want_path(f"{name}.{symbol}")
            return
        for path in module.imports.get(symbol, []):
            self._want_path(path)
        statements = module.statements(symbol)
        if statements:
            self._keep(module, symbol, statements)
        elif symbol not in module.imports:
            self._take_unbound(module, symbol)

    def _take_unbound(self, module: "Module", symbol: str) -> None:
        """Looks for a name that no statement of a module binds: from a `*`, a submodule, or else anything in it."""
        stars = [star for star in module.stars if self._binds(star, symbol)]
        if stars:
            for star in stars:
                self._want(star, symbol)
        elif self._module(f"{module.name}.{symbol}"):
            self._want(f"{module.name}.{symbol}", WHOLE)
        elif symbol != WHOLE:
            self._want(module.name, WHOLE)

    def _binds(self, name: str, symbol: str) -> bool:
        module = self._module(name)
        if module is None:
            return False
        return symbol in module.symbols or symbol in module.imports or any(self._binds(s, symbol) for s in module.stars)

    def _keep(self, module: "Module", symbol: str, statements: Sequence[ast.stmt]) -> None:
        label = f"{module.name}.{symbol}"
        self.symbols[label] = _hash_of_symbol(module, symbol)
        self.places[label] = f"{module.path}:{statements[0].lineno}"
        self._want_effects(module.name)
        for statement in statements:
            self._follow(module, statement)
            for path in read_statement(module, statement).files:
                file = f"{module.name}:{path.relative_to(module.path.parent)}"
                self.symbols[file] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
                self.places[file] = f"{path}:1"

    def _want_effects(self, name: str) -> None:
        """Takes what importing a module does, and the packages around it."""
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            around = self._module(".".join(parts[:count]))
            if around is not None and around.effects and not numbered(around.name):
                self._want(around.name, EFFECTS)

    def _follow(self, module: "Module", statement: ast.stmt) -> None:
        reading = read_statement(module, statement)
        local = reading.imports
        for path in (path for paths in local.values() for path in paths):
            self._want_path(path)
        for chain in reading.chains:
            first, *rest = chain.split(".")
            self.asks_for_schemas |= "output_schema" in rest
            if first in module.symbols:
                self._want(module.name, first)
            for path in {*module.imports.get(first, []), *local.get(first, [])}:
                self._want_path(".".join([path, *rest]))
            for star in module.stars:
                self._follow_star(star, first)

    def _follow_star(self, star: str, name: str) -> None:
        if self._module(star) is None:
            self.imported.add(star.split(".", maxsplit=1)[0])
        elif self._binds(star, name):
            self._want(star, name)

    def _take_live(self, name: str) -> None:
        """Takes what a notebook's cell or a script defines; the values of its globals are what they are now."""
        label = f"__main__.{name}"
        if label in self.symbols:
            return
        value = vars(sys.modules["__main__"])[name]
        if not inspect.isclass(value) and not inspect.isfunction(value):
            description = describe(value)
            self.symbols[label] = hash_of(description)[:16]
            for path in paths_in(description):
                self._want_path(path)
            return
        text = _live_source(value, label)
        module = source_of(text)
        self.symbols[label] = hash_of([ast.dump(statement) for statement in module.body])[:16]
        self.places[label] = "__main__:1"
        globals_read = set(_globals_in(symtable.symtable(text, label, "exec")))
        for chain in chains_in(module):
            first, *rest = chain.split(".")
            if first in globals_read:
                self._follow_live(first, rest)
        for path in dict(imports_in(module, None)).values():
            self._want_path(path)

    def _follow_live(self, first: str, rest: Sequence[str]) -> None:
        known = vars(sys.modules["__main__"])
        if first not in known:
            return
        value = known[first]
        if inspect.ismodule(value):
            self._want_path(".".join([value.__name__, *rest]))
        elif getattr(value, "__module__", "__main__") != "__main__" and hasattr(value, "__qualname__"):
            self._want_path(f"{value.__module__}.{value.__qualname__}")
        else:
            self._take_live(first)


def _globals_in(table: symtable.SymbolTable) -> Iterator[str]:
    """Lists the names that code reads from its module's globals; names of its own functions are not among them."""
    for symbol in table.get_symbols():
        if symbol.is_global() or (table.get_type() == "module" and symbol.is_referenced()):
            yield symbol.get_name()
    for inner in table.get_children():
        yield from _globals_in(inner)


def _live_source(value: Any, label: str) -> str:
    """Finds the source of a class or function that a script or a notebook's cell defines."""
    parts = vars(value).values() if inspect.isclass(value) else [value]
    for function in (inspect.unwrap(part) for part in parts if inspect.isfunction(part)):
        text = "".join(linecache.getlines(function.__code__.co_filename))
        for node in ast.parse(text).body:
            if getattr(node, "name", None) == value.__name__:
                return ast.unparse(node)
    raise Undescribable(f"the source of {label} is not to be had")
