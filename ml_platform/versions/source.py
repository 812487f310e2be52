"""Parses a project module into statements by name, and lists what each statement reads; cached."""

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ml_platform.errors import PlatformError
from ml_platform.versions.syntax import (
    chains_in,
    import_paths,
    imports_in,
    is_all,
    is_guard,
    names_bound,
    outside_functions,
    source_of,
    texts_in,
)

WHOLE = "*"  # a module whose every statement counts
EFFECTS = "<import>"  # what a module does when it is imported, beyond binding names


class Module:
    """A module's statements, by the names that they bind.

    Attributes:
        package: where its relative imports start from.
        imports: name to the dotted paths that import statements bind it to; several where one stands in for another.
        stars: the modules of which all names are imported.
        effects: what importing the module does beyond binding names: calls, loops, changes of what is bound elsewhere.
    """

    def __init__(self, name: str, path: Path, *, with_schemas: bool):
        self.name = name
        self.path = path
        self.package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        self.symbols: dict[str, list[ast.stmt]] = {}
        self.effects: list[ast.stmt] = []
        tree = _parsed(path, with_schemas=with_schemas)
        self.imports = import_paths(imports_in(tree, self.package, only_top=True))
        self.stars = [path.removesuffix(".*") for path in self.imports.pop("*", [])]
        for statement in tree.body:
            self._sort(statement)
        for statement in tree.body:
            if self._is_effect(statement):
                self.effects.append(statement)

    def _sort(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.Import | ast.ImportFrom) or is_all(statement):
            return
        if is_guard(statement):
            # The other branch of `if TYPE_CHECKING` is what runs.
            for other in getattr(statement, "orelse", []):
                self._sort(other)
            return
        for name in names_bound(statement):
            self.symbols.setdefault(name, []).append(statement)

    def _is_effect(self, statement: ast.stmt) -> bool:
        if isinstance(statement, ast.Import | ast.ImportFrom | ast.Pass) or is_all(statement) or is_guard(statement):
            return False
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            # A library's decorator is taken to return what it decorates; one of the project may put it into a registry.
            return any(self._is_own(name) for decorator in statement.decorator_list for name in chains_in(decorator))
        return any(self._changes(node) for node in outside_functions(ast.Module([statement], [])))

    def _is_own(self, chain: str) -> bool:
        """Returns whether a decorator is the project's, and so may register what it decorates."""
        first = chain.split(".", maxsplit=1)[0]
        paths = self.imports.get(first, [])
        return first in self.symbols or any(project_file(path.rpartition(".")[0]) for path in paths)

    def _changes(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Expr | ast.For | ast.While | ast.With | ast.Delete | ast.AugAssign):
            return True
        if isinstance(node, ast.Attribute | ast.Subscript):
            return isinstance(node.ctx, ast.Store)
        if isinstance(node, ast.Name):
            # `_ = registry.update(...)` binds a name that nobody reads: it is there for its effect.
            return node.id == "_" and isinstance(node.ctx, ast.Store)
        # A function of this module that is called may change its other names.
        return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and self._defines(node.func.id)

    def _defines(self, name: str) -> bool:
        return any(isinstance(statement, ast.FunctionDef) for statement in self.symbols.get(name, []))

    def statements(self, symbol: str) -> list[ast.stmt]:
        """Returns the statements that bind a symbol."""
        if symbol == EFFECTS:
            return self.effects
        if symbol == WHOLE:
            every = [statement for statements in self.symbols.values() for statement in statements]
            return list(dict.fromkeys([*every, *self.effects]))
        return self.symbols.get(symbol, [])


@lru_cache(maxsize=1024)
def read_module(name: str, path: Path, _modified: int, *, with_schemas: bool = False) -> Module:
    """Returns a parsed module, the same one for each state of its file."""
    return Module(name, path, with_schemas=with_schemas)


def _parsed(path: Path, *, with_schemas: bool) -> ast.Module:
    try:
        return source_of(path.read_text(), with_schemas=with_schemas)
    except SyntaxError as error:
        raise PlatformError(f"{path}:{error.lineno}: not Python: {error.msg}") from error


@dataclass(frozen=True)
class Reading:
    """What a statement of a module reads.

    Attributes:
        chains: names with the attributes after them, as `chains_in` lists them.
        imports: what import statements in it bind, name to dotted paths.
        places: where files would lie that it names.
    """

    chains: Sequence[str]
    imports: Mapping[str, Sequence[str]]
    places: Sequence[Path]

    @property
    def files(self) -> Iterator[Path]:
        """Lists those places where a file is now."""
        return (place for place in self.places if place.is_file())


@lru_cache(maxsize=8192)
def read_statement(module: Module, statement: ast.stmt) -> Reading:
    """Returns what a statement reads; cached, as many closures go through the same statements."""
    places = dict.fromkeys(_places_named(module, statement))
    return Reading(list(chains_in(statement)), import_paths(imports_in(statement, module.package)), list(places))


def _places_named(module: Module, statement: ast.stmt) -> Iterator[Path]:
    """Lists the files beside a module that a statement names: a page's template, a query, a folder and a file in it."""
    for node in ast.walk(statement):
        # Longer texts and those over lines are no names of files, and the system would refuse to look for them.
        parts = [part for part in texts_in(node) if 0 < len(part) < 256 and "\n" not in part and "\0" not in part]
        path = module.path.parent.joinpath(*parts)
        if parts and path.suffix != ".py":
            yield path


# `_path` is sys.path, as a part of the key: a project that is put on it later must be found.
@lru_cache(maxsize=4096)
def _root_of(top: str, _path: tuple[str, ...]) -> tuple[Path, ...] | None:
    """Returns where a top-level package or module of the project lies; None if it is an installed one or Python's."""
    if top in sys.stdlib_module_names or top == "__main__":
        return None
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    places = [Path(place) for place in spec.submodule_search_locations or ()]
    places = places or ([Path(spec.origin)] if spec.origin else [])
    # The platform's own steps are hashed wherever it lies, so a checkout and a wheel of it share what they made.
    is_installed = top != "ml_platform" and any({"site-packages", "dist-packages"} & set(p.parts) for p in places)
    return None if is_installed or not places else tuple(places)


def project_file(module: str) -> Path | None:
    """Returns the file of a module of the project; None if it is not one."""
    top, *rest = module.split(".")
    for root in _root_of(top, tuple(sys.path)) or ():
        if root.suffix == ".py":
            return root if not rest else None
        base = root.joinpath(*rest)
        # A package before a module of its name, as Python has it.
        for path in (base / "__init__.py", base.with_suffix(".py") if rest else base / "__init__.py"):
            if path.is_file():
                return path
    return None


def text_hash(path: Path) -> str | None:
    """Returns the hash of a file's text; None if it is gone."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
