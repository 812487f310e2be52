"""Resolves global names of a notebook to their imports or definitions, or says why they cannot be extracted."""

import ast
import builtins
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ml_platform.notebooks.constants import obstacle
from ml_platform.notebooks.reader import Place
from ml_platform.notebooks.statements import DEFINITIONS, Statement
from ml_platform.versions.syntax import imports_in

_OF_NOTEBOOKS = {"display", "get_ipython", "In", "Out", "_", "__", "___"}
_OF_MODULES = {"__name__", "__annotations__", "__doc__"}
_BUILTINS = (set(dir(builtins)) | _OF_MODULES) - _OF_NOTEBOOKS

# Kinds of bindings that may stand in a module as they are; any other kind says why not.
_IMPORT, _DEFINITION, _CONSTANT = "an import", "a definition", "a constant"
_BOUND_BY: Mapping[type[ast.stmt], str] = {
    ast.AugAssign: "changed by an assignment such as +=",
    ast.For: "bound by a loop",
    ast.AsyncFor: "bound by a loop",
    ast.While: "bound by a loop",
    ast.With: "bound by a `with`",
    ast.AsyncWith: "bound by a `with`",
    ast.If: "bound inside of an `if`",
    ast.Try: "bound inside of a `try`",
    ast.Delete: "deleted",
}


@dataclass(frozen=True)
class Hidden:
    """A global that cannot leave the notebook: what it is there, where it was bound."""

    why: str
    places: Sequence[Place] = ()

    def __str__(self) -> str:
        return f"{self.why} ({'; '.join(map(str, self.places))})" if self.places else self.why


@dataclass(frozen=True)
class _Star:
    """A `from module import *`; names are None where the module cannot be imported here."""

    module: str
    place: Place
    names: frozenset[str] | None


class Scope:
    """The names at the top of a notebook.

    Attributes:
        bindings: name to the statements that bind it, in order.
        imports: name to the dotted path that an import binds it to.
    """

    def __init__(self, statements: Sequence[Statement]):
        self.statements = statements
        self.bindings: dict[str, list[Statement]] = {}
        self.imports: dict[str, str] = {}
        self._changes: dict[str, list[Place]] = {}
        self._stars: list[_Star] = []
        for statement in statements:
            for name in statement.binds:
                self.bindings.setdefault(name, []).append(statement)
            for name, line in statement.changes.items():
                self._changes.setdefault(name, []).append(Place(statement.cell.number, line))
            for name, path in _imported_by(statement.node):
                if name == "*":
                    module = path.removesuffix(".*")
                    self._stars.append(_Star(module, statement.place, _exports(module)))
                else:
                    self.imports[name] = path

    def find(self, name: str) -> list[Statement] | Hidden:
        """Returns the statements that bind a name, none for a builtin, or why it cannot leave the notebook."""
        found = self.bindings.get(name, [])
        star = self._star_that_binds(name, found)
        if star is not None:
            return Hidden(f"bound by a star; write `from {star.module} import {name}`", [star.place])
        if not found:
            return [] if name in _BUILTINS else Hidden(_why_unbound(name))
        kinds, changes = {self._kind(one, name) for one in found}, self._changes.get(name, [])
        # What a module's attributes are set to is the module's matter: an import brings the module as it is.
        if changes and kinds != {_IMPORT}:
            return Hidden("changed after it was bound", changes)
        places = [Place(one.cell.number, one.binds[name]) for one in found]
        # A cell that is run again and again defines its functions anew: the last one stands. Anything else must be
        # bound to the same each time, as the order in which cells were run cannot be known.
        is_one = kinds == {_DEFINITION} or len({_meaning(one.node, name) for one in found}) == 1
        if len(kinds) > 1 or not is_one:
            return Hidden("bound more than once, to different things", places)
        (kind,) = kinds
        return found if kind in (_IMPORT, _DEFINITION, _CONSTANT) else Hidden(kind, places)

    def _kind(self, statement: Statement, name: str) -> str:
        """Returns what kind of binding a statement makes of a name."""
        node = statement.node
        if name in statement.sets:
            return "deleted" if isinstance(node, ast.Delete) else "bound by a function, with `global`, or deleted"
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and not node.level):
            return _IMPORT
        if isinstance(node, DEFINITIONS) and node.name == name:
            return _DEFINITION
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            why = obstacle(node.value, self.imports, self.bindings)
            return _CONSTANT if why is None else f"a computed value ({why})"
        if type(node).__name__ == "TypeAlias":  # `type Rows = ...`, from Python 3.12
            return _CONSTANT
        return _BOUND_BY.get(type(node), "bound inside of another statement")

    def _star_that_binds(self, name: str, found: Sequence[Statement]) -> _Star | None:
        """Returns the last star after all bindings of a name that binds it, too."""
        for star in reversed(self._stars):
            is_last = not found or found[-1].place < star.place
            # Of a module that is not here nobody knows the names: it is blamed for what nothing else binds.
            is_its = name in star.names if star.names is not None else not found and name not in _BUILTINS
            if is_last and is_its:
                return star
        return None


def _imported_by(node: ast.stmt) -> list[tuple[str, str]]:
    is_import = isinstance(node, ast.Import | ast.ImportFrom)
    return list(imports_in(ast.Module([node], []), None)) if is_import else []


def _exports(module: str) -> frozenset[str] | None:
    """Returns the names that `from module import *` binds; None if the module cannot be imported."""
    try:
        found = importlib.import_module(module)
    except Exception:  # noqa: BLE001  (whatever a module does when it is imported)
        return None
    return frozenset(getattr(found, "__all__", None) or (name for name in vars(found) if name[0] != "_"))


def _meaning(node: ast.stmt, name: str) -> str:
    """Returns what a statement binds a name to, as a text that is equal for equal bindings."""
    if not isinstance(node, ast.Import | ast.ImportFrom):
        return ast.dump(node)
    return f"{type(node).__name__} {[one for one in _imported_by(node) if one[0] == name][-1]}"


def _why_unbound(name: str) -> str:
    if name in _OF_NOTEBOOKS or (name.startswith("_") and name[1:].isdigit()):
        return "there in notebooks alone; leave it out"
    return "bound nowhere in the notebook, perhaps because its cell was changed or deleted"
