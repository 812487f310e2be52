"""Reads a module's source: the names that it binds, what each statement reads, what importing it does."""

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ml_platform.errors import PlatformError

WHOLE = "*"  # a module whose every statement counts
EFFECTS = "<import>"  # what a module does when it is imported, beyond binding names


class Module:
    """A module's statements, by the names that they bind.

    Attributes:
        imports: name to the dotted paths that import statements bind it to; several where one stands in for another.
        stars: the modules of which all names are imported.
        effects: what importing the module does beyond binding names: calls, loops, changes of what is bound elsewhere.
    """

    def __init__(self, name: str, path: Path, *, with_schemas: bool):
        self.name = name
        self.path = path
        self.is_package = path.name == "__init__.py"
        self.symbols: dict[str, list[ast.stmt]] = {}
        self.effects: list[ast.stmt] = []
        tree = _parsed(path, with_schemas=with_schemas)
        self.imports = import_paths(imports_in(tree, self, only_top=True))
        self.stars = [path.removesuffix(".*") for path in self.imports.pop("*", [])]
        for statement in tree.body:
            self._sort(statement)
        for statement in tree.body:
            if self._is_effect(statement):
                self.effects.append(statement)

    def _sort(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.Import | ast.ImportFrom) or _is_all(statement):
            return
        if _is_guard(statement):
            # The other branch of `if TYPE_CHECKING` is what runs.
            for other in getattr(statement, "orelse", []):
                self._sort(other)
            return
        for name in _bound(statement):
            self.symbols.setdefault(name, []).append(statement)

    def _is_effect(self, statement: ast.stmt) -> bool:
        if isinstance(statement, ast.Import | ast.ImportFrom | ast.Pass) or _is_all(statement) or _is_guard(statement):
            return False
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            # A library's decorator is taken to return what it decorates; one of the project may put it into a registry.
            return any(self._is_own(name) for decorator in statement.decorator_list for name in chains_in(decorator))
        return any(self._changes(node) for node in _outside_functions(ast.Module([statement], [])))

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


def import_paths(bound: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Returns the dotted paths that each name is bound to."""
    found: dict[str, list[str]] = {}
    for name, path in bound:
        found.setdefault(name, []).append(path)
    return found


# Decorators that do not look at annotations.
_BLIND = {
    "property", "staticmethod", "classmethod", "cached_property", "lru_cache", "contextmanager", "abstractmethod",
    "wraps",
}  # fmt: skip


class _Stripped(ast.NodeTransformer):
    """Removes what has no say: docstrings, the annotations of functions, and `output_schema` unless it is called."""

    def __init__(self, *, with_schemas: bool):
        self._with_schemas = with_schemas

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        names = {name.rpartition(".")[2] for decorator in node.decorator_list for name in chains_in(decorator)}
        # Other decorators (singledispatch, pydantic's) act on annotations, which are code for them.
        if names <= _BLIND:
            node.returns = None
            for argument in ast.walk(node.args):
                if isinstance(argument, ast.arg):
                    argument.annotation = None
        for inner in ast.walk(node):
            # Within a function Python never evaluates them. Those of a class stay: dataclasses read them.
            if isinstance(inner, ast.AnnAssign):
                inner.annotation = ast.Constant(None)
        return self._without_docstring(node)

    visit_AsyncFunctionDef = visit_FunctionDef  # type: ignore[assignment]

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        if not self._with_schemas:
            # Columns are checked against it, and no value is made by it.
            node.body = [part for part in node.body if getattr(part, "name", "") != "output_schema"] or [ast.Pass()]
        return self._without_docstring(node)

    def visit_Module(self, node: ast.Module) -> ast.AST:
        return self._without_docstring(node)

    def _without_docstring(self, node: Any) -> ast.AST:
        self.generic_visit(node)
        first = node.body[0] if node.body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            # An empty body would be no valid tree.
            node.body = node.body[1:] or [ast.Pass()]
        return node  # type: ignore[no-any-return]


def _parsed(path: Path, *, with_schemas: bool) -> ast.Module:
    try:
        return source_of(path.read_text(), with_schemas=with_schemas)
    except SyntaxError as error:
        raise PlatformError(f"{path}:{error.lineno}: not Python: {error.msg}") from error


def source_of(text: str, *, with_schemas: bool = True) -> ast.Module:
    """Returns parsed source without what has no say in what it does."""
    tree: ast.Module = _Stripped(with_schemas=with_schemas).visit(ast.parse(text))
    return tree


def _is_all(statement: ast.stmt) -> bool:
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets)


def _is_guard(statement: ast.stmt) -> bool:
    """Returns whether a block does not run where values are made: `if TYPE_CHECKING`, `if __name__ == "__main__"`."""
    if not isinstance(statement, ast.If):
        return False
    return ast.unparse(statement.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING", "__name__ == '__main__'")


def _bound(statement: ast.stmt) -> Iterator[str]:
    """Lists the names that a statement at the top of a module binds."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
        return
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name


def imports_in(tree: ast.AST, module: Module | None, *, only_top: bool = False) -> Iterator[tuple[str, str]]:
    """Lists what import statements bind, with the dotted path that each name stands for."""
    nodes = _outside_functions(tree) if only_top else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (alias.asname, alias.name) if alias.asname else (alias.name.split(".")[0],) * 2
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, module)
            for alias in node.names:
                yield alias.asname or alias.name, f"{base}.{alias.name}"


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
    return Reading(list(chains_in(statement)), import_paths(imports_in(statement, module)), list(places))


def _places_named(module: Module, statement: ast.stmt) -> Iterator[Path]:
    """Lists the files beside a module that a statement names: a page's template, a query, a folder and a file in it."""
    for node in ast.walk(statement):
        # Longer texts and those over lines are no names of files, and the system would refuse to look for them.
        parts = [part for part in _texts(node) if 0 < len(part) < 256 and "\n" not in part and "\0" not in part]
        path = module.path.parent.joinpath(*parts)
        if parts and path.suffix != ".py":
            yield path


def _texts(node: ast.AST) -> list[str]:
    """Returns the texts that a literal, `a / "b" / "c"` or a call such as `joinpath("b", "c")` puts together."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return [*_texts(node.left), *_texts(node.right)]
    return [text for part in node.args for text in _texts(part)] if isinstance(node, ast.Call) else []


def _outside_functions(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _outside_functions(node)


def _absolute(node: ast.ImportFrom, module: Module | None) -> str:
    if not node.level or module is None:
        return str(node.module)
    parts = module.name.split(".")
    # In a package's __init__ one dot is the package itself, in a module it is the package around it.
    kept = parts[: len(parts) - node.level + module.is_package]
    return ".".join([*kept, *filter(None, [node.module])])


def chains_in(tree: ast.AST) -> Iterator[str]:
    """Lists the names that are read, with the attributes after them: `pd.DataFrame`, `helper`."""
    inner = set()
    for node in ast.walk(tree):
        parts: list[str] = []
        base: ast.AST = node
        while isinstance(base, ast.Attribute):
            inner.add(base.value)
            parts.append(base.attr)
            base = base.value
        # ast.walk comes from the outside: `a.b.c` is met whole first, and its inner parts are left out then.
        if isinstance(base, ast.Name) and isinstance(base.ctx, ast.Load) and node not in inner:
            yield ".".join([base.id, *reversed(parts)])


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
