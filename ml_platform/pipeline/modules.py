"""What does the source of a module of the project bind, use and do? Read as text: nothing is imported."""

import ast
import importlib.util
import re
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from ml_platform.errors import PlatformError

WHOLE = "*"  # a module whose every statement counts
EFFECTS = "<import>"  # what a module does when it is imported, beyond binding names


class Module:
    """A module's statements, by the names that they bind."""

    def __init__(self, name: str, path: Path):
        self.name = name
        self.path = path
        self.is_package = path.name == "__init__.py"
        self.symbols: dict[str, list[ast.stmt]] = {}
        self.effects: list[ast.stmt] = []
        tree = _parsed(path)
        self.imports = dict(imports_in(tree, self, only_top=True))
        for statement in tree.body:
            self._sort(statement)

    def _sort(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.Import | ast.ImportFrom) or _is_guard(statement):
            return
        names = list(_bound(statement))
        for name in names:
            self.symbols.setdefault(name, []).append(statement)
        if not names or any(isinstance(node, ast.Expr) for node in getattr(statement, "body", [])):
            is_definition = isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            if not is_definition:
                self.effects.append(statement)

    def statements(self, symbol: str) -> list[ast.stmt]:
        """Gives the statements that bind a symbol."""
        if symbol == EFFECTS:
            return self.effects
        if symbol == WHOLE:
            every = [statement for statements in self.symbols.values() for statement in statements]
            return list(dict.fromkeys([*every, *self.effects]))
        return self.symbols.get(symbol, [])


@lru_cache(maxsize=1024)
def read_module(name: str, path: Path, _modified: int) -> Module:
    """Parses a module, once for each state of its file."""
    return Module(name, path)


class _Stripped(ast.NodeTransformer):
    """Takes away what has no say: docstrings, and the annotations of functions and their variables."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        for argument in ast.walk(node.args):
            if isinstance(argument, ast.arg):
                argument.annotation = None
        for inner in ast.walk(node):
            if isinstance(inner, ast.AnnAssign):
                inner.annotation = ast.Constant(None)
        return self._without_docstring(node)

    visit_AsyncFunctionDef = visit_FunctionDef  # type: ignore[assignment]

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        rest = [part for part in node.body if getattr(part, "name", "") != "output_schema"]
        named = (inner for part in rest for inner in ast.walk(part) if isinstance(inner, ast.Attribute))
        is_called = any(inner.attr == "output_schema" for inner in named)
        if not is_called:
            node.body = rest or [ast.Pass()]
        return self._without_docstring(node)

    def visit_Module(self, node: ast.Module) -> ast.AST:
        return self._without_docstring(node)

    def _without_docstring(self, node: Any) -> ast.AST:
        self.generic_visit(node)
        first = node.body[0] if node.body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            node.body = node.body[1:] or [ast.Pass()]
        return node  # type: ignore[no-any-return]


def _parsed(path: Path) -> ast.Module:
    try:
        return source_of(path.read_text())
    except SyntaxError as error:
        raise PlatformError(f"{path}:{error.lineno}: not Python: {error.msg}") from error


def source_of(text: str) -> ast.Module:
    """Parses source and takes away what has no say in what it does."""
    tree: ast.Module = _Stripped().visit(ast.parse(text))
    return tree


def _is_guard(statement: ast.stmt) -> bool:
    """Knows blocks that do not run where values are made: `if TYPE_CHECKING`, `if __name__ == ...`; and `__all__`."""
    if isinstance(statement, ast.Assign):
        return any(isinstance(target, ast.Name) and target.id == "__all__" for target in statement.targets)
    if isinstance(statement, ast.If):
        return any(name in ("TYPE_CHECKING", "__name__") for name in chains_in(statement.test))
    return isinstance(statement, ast.Pass)


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


def files_named(module: Module, statement: ast.stmt) -> Iterator[Path]:
    """Lists the files beside a module that a statement names: a page's template, a query."""
    for node in ast.walk(statement):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and re.fullmatch(r"[\w./-]+\.\w+", text):
            path = module.path.parent / text
            if path.is_file() and path.suffix != ".py":
                yield path


def _outside_functions(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _outside_functions(node)


def _absolute(node: ast.ImportFrom, module: Module | None) -> str:
    if not node.level or module is None:
        return str(node.module)
    parts = module.name.split(".")
    kept = parts[: len(parts) - node.level + module.is_package]
    return ".".join([*kept, *filter(None, [node.module])])


def chains_in(tree: ast.AST) -> Iterator[str]:
    """Lists the names that are read, with the attributes after them: `pd.DataFrame`, `helper`; types do nothing."""
    inner = {part for node in ast.walk(tree) if isinstance(node, ast.AnnAssign) for part in ast.walk(node.annotation)}
    for node in ast.walk(tree):
        parts: list[str] = []
        base: ast.AST = node
        while isinstance(base, ast.Attribute):
            inner.add(base.value)
            parts.append(base.attr)
            base = base.value
        if isinstance(base, ast.Name) and isinstance(base.ctx, ast.Load) and node not in inner:
            yield ".".join([base.id, *reversed(parts)])


@lru_cache(maxsize=4096)
def _root_of(top: str, _path: tuple[str, ...]) -> tuple[Path, ...] | None:
    """Finds where a top-level package or module of the project lies; None if it is an installed one or Python's."""
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
    is_installed = any({"site-packages", "dist-packages"} & set(place.parts) for place in places)
    return None if is_installed or not places else tuple(places)


def project_file(module: str) -> Path | None:
    """Gives the file of a module of the project; None if it is not one."""
    top, *rest = module.split(".")
    for root in _root_of(top, tuple(sys.path)) or ():
        if root.suffix == ".py":
            return root if not rest else None
        base = root.joinpath(*rest)
        for path in (base / "__init__.py", base.with_suffix(".py") if rest else base / "__init__.py"):
            if path.is_file():
                return path
    return None
