"""Normalizes a syntax tree before hashing, and lists its names, imports and attribute chains."""

import ast
from collections.abc import Iterable, Iterator
from typing import Any

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


def source_of(text: str, *, with_schemas: bool = True) -> ast.Module:
    """Returns parsed source without what has no say in what it does."""
    tree: ast.Module = _Stripped(with_schemas=with_schemas).visit(ast.parse(text))
    return tree


def is_all(statement: ast.stmt) -> bool:
    """Returns whether a statement sets `__all__`, which decides what a `*` imports and nothing else."""
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets)


def is_guard(statement: ast.stmt) -> bool:
    """Returns whether a block does not run where values are made: `if TYPE_CHECKING`, `if __name__ == "__main__"`."""
    if not isinstance(statement, ast.If):
        return False
    return ast.unparse(statement.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING", "__name__ == '__main__'")


def names_bound(statement: ast.stmt) -> Iterator[str]:
    """Lists the names that a statement at the top of a module binds."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
        return
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name


def import_paths(bound: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Returns the dotted paths that each name is bound to."""
    found: dict[str, list[str]] = {}
    for name, path in bound:
        found.setdefault(name, []).append(path)
    return found


def imports_in(tree: ast.AST, package: str | None, *, only_top: bool = False) -> Iterator[tuple[str, str]]:
    """Lists what import statements bind, with the dotted path that each name stands for.

    Args:
        package: where relative imports start from: a module's package, a package itself.
        only_top: whether to leave out the imports in functions and classes.
    """
    nodes = outside_functions(tree) if only_top else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (alias.asname, alias.name) if alias.asname else (alias.name.split(".")[0],) * 2
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            for alias in node.names:
                yield alias.asname or alias.name, f"{base}.{alias.name}"


def _absolute(node: ast.ImportFrom, package: str | None) -> str:
    if not node.level or package is None:
        return str(node.module)
    parts = package.split(".") if package else []
    # One dot is the package itself, each further one the package around it.
    kept = parts[: len(parts) - node.level + 1]
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


def texts_in(node: ast.AST) -> list[str]:
    """Returns the texts that a literal, `a / "b" / "c"` or a call such as `joinpath("b", "c")` puts together."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return [*texts_in(node.left), *texts_in(node.right)]
    return [text for part in node.args for text in texts_in(part)] if isinstance(node, ast.Call) else []


def outside_functions(tree: ast.AST) -> Iterator[ast.AST]:
    """Lists the nodes of a tree that run when it does: not those of functions and classes in it."""
    for node in ast.iter_child_nodes(tree):
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from outside_functions(node)
