"""The graph of the project's source: symbols of its modules, what each uses, and what leads out of the project."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ml_platform.versions.cells import Binding, read_binding
from ml_platform.versions.platform_versions import numbered
from ml_platform.versions.source import EFFECTS, WHOLE, Module, project_file, read_module, read_statement


@dataclass(frozen=True)
class Symbol:
    """A name that a module of the project binds; `WHOLE` is all of the module, `EFFECTS` what importing it does."""

    module: Module
    name: str


@dataclass(frozen=True)
class Cell:
    """A name that a notebook's cell or a script binds in `__main__`."""

    name: str


@dataclass(frozen=True)
class Library:
    """A top-level name that is not the project's: it counts by the version of its distribution."""

    name: str


@dataclass(frozen=True)
class Numbered:
    """A part of the platform that counts by a number (`ml_platform/versions/platform_versions.py`)."""

    kind: str


Node = Symbol | Cell | Library | Numbered


class SourceGraph:
    """Symbols and the edges between them, read from the source as it stands on disk; nothing is imported.

    Args:
        with_schemas: whether `output_schema` is a part of the classes that have it.
    """

    def __init__(self, *, with_schemas: bool = False) -> None:
        self._with_schemas = with_schemas
        self._modules: dict[str, Module | None] = {}
        self._bindings: dict[str, Binding] = {}

    def reach(self, paths: Iterable[str]) -> list[Node]:
        """Returns what dotted paths name and all that it uses, each once."""
        pending = list(dict.fromkeys(map(self.resolve, paths)))
        reached = dict.fromkeys(pending)
        while pending:
            for node in self.edges(pending.pop()):
                if node not in reached:
                    reached[node] = None
                    pending.append(node)
        return list(reached)

    def resolve(self, path: str) -> Node:
        """Returns the node that a dotted path names: the longest prefix that is a module, and the name after it."""
        parts = path.split(".")
        if parts[0] == "__main__":
            return Cell(parts[1])
        for count in range(len(parts), 0, -1):
            module = self._module(".".join(parts[:count]))
            if module is not None:
                return _node(module, parts[count] if count < len(parts) else WHOLE)
        return Library(parts[0])

    def edges(self, node: Node) -> Iterator[Node]:
        """Lists what a node uses directly."""
        if isinstance(node, Cell):
            yield from map(self.resolve, self.binding(node).uses)
        elif isinstance(node, Symbol):
            yield from self._edges_of_symbol(node.module, node.name)

    def binding(self, cell: Cell) -> Binding:
        """Returns what a cell's name is bound to, as it was first read."""
        if cell.name not in self._bindings:
            self._bindings[cell.name] = read_binding(cell.name)
        return self._bindings[cell.name]

    def _module(self, name: str) -> Module | None:
        if name not in self._modules:
            path = project_file(name)
            read = path and read_module(name, path, path.stat().st_mtime_ns, with_schemas=self._with_schemas)
            self._modules[name] = read or None
        return self._modules[name]

    def _edges_of_symbol(self, module: Module, name: str) -> Iterator[Node]:
        yield from map(self.resolve, module.imports.get(name, []))
        statements = module.statements(name)
        if statements:
            yield from self._effects(module)
        for statement in statements:
            yield from self._edges_of_statement(module, statement)
        if not statements and name not in module.imports:
            yield from self._unbound(module, name)

    def _effects(self, module: Module) -> Iterator[Node]:
        """Lists what importing a module does, and importing the packages around it."""
        parts = module.name.split(".")
        around = [self._module(".".join(parts[:count])) for count in range(1, len(parts) + 1)]
        # Those of the platform's own root are a matter of its number, which every step would have otherwise.
        yield from (Symbol(one, EFFECTS) for one in around if one and one.effects and not numbered(one.name))

    def _edges_of_statement(self, module: Module, statement: ast.stmt) -> Iterator[Node]:
        reading = read_statement(module, statement)
        for paths in reading.imports.values():
            yield from map(self.resolve, paths)
        for chain in reading.chains:
            first, *rest = chain.split(".")
            # A name may be all of these, one after the other: a fallback import, then a definition. Each counts.
            if first in module.symbols:
                yield _node(module, first)
            for path in (*module.imports.get(first, []), *reading.imports.get(first, [])):
                yield self.resolve(".".join([path, *rest]))
            for star in module.stars:
                yield from self._through_star(star, first)

    def _through_star(self, star: str, name: str) -> Iterator[Node]:
        module = self._module(star)
        if module is None:
            yield Library(star.split(".", maxsplit=1)[0])
        elif self._binds(module, name):
            yield _node(module, name)

    def _unbound(self, module: Module, name: str) -> Iterator[Node]:
        """Lists what a name can be that no statement binds: from a `*`, a submodule, or else anything in the module."""
        stars = [star for star in map(self._module, module.stars) if star and self._binds(star, name)]
        inner = self._module(f"{module.name}.{name}")
        if stars:
            yield from (_node(star, name) for star in stars)
        elif inner is not None:
            yield _node(inner, WHOLE)
        elif name != WHOLE:
            yield _node(module, WHOLE)  # bound at run time, by `globals()` or `__getattr__`

    def _binds(self, module: Module, name: str) -> bool:
        if name in module.symbols or name in module.imports:
            return True
        return any(star is not None and self._binds(star, name) for star in map(self._module, module.stars))


def _node(module: Module, name: str) -> Node:
    kind = numbered(module.name)
    return Symbol(module, name) if kind is None else Numbered(kind)
