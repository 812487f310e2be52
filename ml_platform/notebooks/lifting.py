"""What must come along when a class leaves its notebook, and what stands in its way? Read as text: nothing is run."""

import ast
import builtins
import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ml_platform.errors import PlatformError, expected_one_of
from ml_platform.notebooks.constants import obstacle
from ml_platform.notebooks.reader import Cell, Place, read_notebook
from ml_platform.notebooks.statements import DEFINITIONS, Read, Statement, statements_of
from ml_platform.versions.source import imports_in

_OF_NOTEBOOKS = {"display", "get_ipython", "In", "Out", "_", "__", "___"}
_OF_MODULES = {"__name__", "__annotations__", "__doc__"}
_BUILTINS = (set(dir(builtins)) | _OF_MODULES) - _OF_NOTEBOOKS
_SHOWN = 80  # characters of a line
_TO_DO = (
    "What a class in a module reads must come to it. Make each of these one of:\n"
    "  - a parameter of the constructor, which a pipeline's YAML gives;\n"
    "  - something that `fit` learns from the rows, or another input of the step;\n"
    "  - an attribute of the class;\n"
    "  - a constant: a name that is assigned once, at the top of a cell, to a literal, and not changed later.\n"
    "Then run the notebook's cells from the top, save it, and lift again. (Code cells are counted, "
    "from the top; Markdown is not.)"
)


@dataclass(frozen=True)
class Lifted:
    """A class and all that it needs.

    Attributes:
        imports: the names that imports bind and that are needed, to the import statements.
        parts: constants, functions and classes, in an order in which they can be evaluated.
        notes: what a reader should know of how they were chosen.
    """

    name: str
    notebook: Path
    imports: Mapping[str, Sequence[Statement]]
    parts: Sequence[Statement]
    notes: Sequence[str]
    is_future: bool

    @property
    def definition(self) -> ast.ClassDef:
        """The class itself."""
        return next(s.node for s in self.parts if isinstance(s.node, ast.ClassDef) and s.node.name == self.name)

    @property
    def came_along(self) -> list[str]:
        """The names that were taken with it."""
        return [*sorted(self.imports), *(name for s in self.parts for name in s.binds if name != self.name)]


@dataclass(frozen=True)
class Hidden:
    """A global that cannot leave the notebook: what it is there, where it was bound."""

    why: str
    places: Sequence[Place] = ()


def lift(notebook: Path, name: str) -> Lifted:
    """Collects the last definition of a class with what it needs, and what that needs.

    Raises:
        PlatformError: no such notebook or class, or it reads names that live in the notebook alone, all of them told.
    """
    cells = read_notebook(notebook)
    known = _Globals(statements_of(cells))
    closure = _Closure(known)
    closure.take(known.definition_of(name, notebook))
    if closure.hidden:
        raise PlatformError(_refusal(notebook, name, cells, closure.hidden))
    future = any(isinstance(s.node, ast.ImportFrom) and s.node.module == "__future__" for s in known.statements)
    return Lifted(name, notebook, closure.imports, closure.in_order(), closure.notes, future)


class _Globals:
    """What the names at the top of a notebook are bound to."""

    def __init__(self, statements: Sequence[Statement]):
        self.statements = statements
        self.bindings: dict[str, list[Statement]] = {}
        self.changes: dict[str, list[Place]] = {}
        self.stars: list[tuple[str, Place, frozenset[str] | None]] = []
        self.imports: dict[str, str] = {}
        for statement in statements:
            for name in statement.binds:
                self.bindings.setdefault(name, []).append(statement)
            for name, line in statement.changes.items():
                self.changes.setdefault(name, []).append(Place(statement.cell.number, line))
            self._note_imports(statement)

    def _note_imports(self, statement: Statement) -> None:
        if isinstance(statement.node, ast.Import | ast.ImportFrom):
            bound = dict(imports_in(ast.Module([statement.node], []), None))
            star = bound.pop("*", None)
            self.imports.update(bound)
            if star is not None:
                module = star.removesuffix(".*")
                self.stars.append((module, statement.place, _exports(module)))

    def definition_of(self, name: str, notebook: Path) -> Statement:
        """Gives the last definition of a class.

        Raises:
            PlatformError: the name is bound to no class, or to something else as well.
        """
        classes = {s.node.name for s in self.statements if isinstance(s.node, ast.ClassDef)}
        if name in classes:
            found = self.find(name)
            if isinstance(found, Hidden):
                raise PlatformError(f"{name} cannot leave {notebook}: it is {_told(found)}; define it in one place")
            return found[-1]
        if name in self.imports:
            raise PlatformError(
                f"{name} is imported in {notebook} ({self.bindings[name][-1].place}), from {self.imports[name]}: "
                "it is in a module already"
            )
        bound = [str(s.place) for s in self.bindings.get(name, [])]
        hint = f" ({name} is bound there, by no class at the top of a cell: {', '.join(bound)})" if bound else ""
        raise PlatformError(
            f"no class {name!r} in {notebook}{hint}: {expected_one_of(name, classes)}\nIs the notebook saved?"
        )

    def find(self, name: str) -> list[Statement] | Hidden:
        """Gives the statements that bind a name for good, none for a builtin, or says why it is hidden."""
        found = self.bindings.get(name, [])
        star = self._star_that_binds(name, found)
        if star is not None:
            return star
        if not found:
            return [] if name in _BUILTINS else self._unbound(name)
        kinds = {self._kind(statement, name) for statement in found}
        changed = self.changes.get(name, [])
        if changed and kinds != {"an import"}:
            return Hidden("changed after it was bound", changed)
        if kinds == {"a definition"} or (len(kinds) == 1 and self._are_equal(name, found)):
            kind = kinds.pop()
            return found if kind in ("an import", "a definition", "a constant") else Hidden(kind, _places(name, found))
        return Hidden("bound more than once, to different things", _places(name, found))

    def _kind(self, statement: Statement, name: str) -> str:
        node = statement.node
        if name in statement.sets:
            return "deleted" if isinstance(node, ast.Delete) else "bound by a function, with `global`, or deleted"
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and not node.level):
            return "an import"
        if isinstance(node, DEFINITIONS) and node.name == name:
            return "a definition"
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            why = obstacle(node.value, self.imports, self.bindings)
            return "a constant" if why is None else f"a computed value ({why})"
        if type(node).__name__ == "TypeAlias":  # `type Rows = ...`, from Python 3.12
            return "a constant"
        return _MADE_BY.get(type(node), "bound inside of another statement")

    def _are_equal(self, name: str, found: Sequence[Statement]) -> bool:
        """Says whether a name is bound to the same each time."""
        return len({_meaning(statement.node, name) for statement in found}) == 1

    def _star_that_binds(self, name: str, found: Sequence[Statement]) -> Hidden | None:
        for module, place, exports in reversed(self.stars):
            is_last = not found or found[-1].place < place
            is_its = name in exports if exports is not None else not found and name not in _BUILTINS
            if is_last and is_its:
                return Hidden(f"bound by a star; write `from {module} import {name}`", [place])
        return None

    def _unbound(self, name: str) -> Hidden:
        if name in _OF_NOTEBOOKS or (name.startswith("_") and name[1:].isdigit()):
            return Hidden("there in notebooks alone; leave it out")
        return Hidden("bound nowhere in the notebook, perhaps because its cell was changed or deleted")


_MADE_BY: Mapping[type[ast.stmt], str] = {
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


def _exports(module: str) -> frozenset[str] | None:
    """Lists what `from module import *` binds; None if it cannot be told."""
    try:
        found = importlib.import_module(module)
    except Exception:  # noqa: BLE001  (whatever a module does when it is imported)
        return None
    return frozenset(getattr(found, "__all__", None) or (name for name in vars(found) if name[0] != "_"))


def _meaning(node: ast.stmt, name: str) -> str:
    """Says what a statement binds a name to, to compare it."""
    if not isinstance(node, ast.Import | ast.ImportFrom):
        return ast.dump(node)
    bound = [(key, path) for key, path in imports_in(ast.Module([node], []), None) if key == name]
    return f"{type(node).__name__} {bound[-1]}"


def _places(name: str, found: Sequence[Statement]) -> list[Place]:
    return [Place(statement.cell.number, statement.binds[name]) for statement in found]


@dataclass
class _Closure:
    """Follows names from statement to statement, each once."""

    known: _Globals
    imports: dict[str, list[Statement]] = field(default_factory=dict)
    hidden: dict[str, tuple[Hidden, Read]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _taken: list[Statement] = field(default_factory=list)
    _bound: dict[str, Statement] = field(default_factory=dict)

    def take(self, statement: Statement) -> None:
        """Takes a statement and all that it needs."""
        pending = [statement]
        while pending:
            one = pending.pop()
            if not any(one is taken for taken in self._taken):
                self._taken.append(one)
                self._note_earlier(one)
                pending += self._needed_by(one)

    def _needed_by(self, statement: Statement) -> Iterator[Statement]:
        for read in statement.reads:
            found = self.known.find(read.name)
            if isinstance(found, Hidden):
                self.hidden.setdefault(read.name, (found, read))
            else:
                yield from self._bind(read.name, found)
        for name in statement.hints:
            found = self.known.find(name)
            if not isinstance(found, Hidden):
                yield from self._bind(name, found)

    def _bind(self, name: str, found: Sequence[Statement]) -> Iterator[Statement]:
        if found and isinstance(found[-1].node, ast.Import | ast.ImportFrom):
            self.imports[name] = list(found)
        elif found:
            self._bound[name] = found[-1]
            yield found[-1]

    def _note_earlier(self, statement: Statement) -> None:
        name = getattr(statement.node, "name", None)
        count = len(self.known.bindings.get(str(name), []))
        if count > 1:
            self.notes.append(f"{name} is defined {count} times; the last definition was taken ({statement.place})")

    def in_order(self) -> list[Statement]:
        """Puts constants before functions before classes, as in the notebook, unless one needs another to exist."""
        done: list[Statement] = []
        for statement in sorted(self._taken, key=_rank):
            self._put(statement, done, [])
        return done

    def _put(self, statement: Statement, done: list[Statement], above: list[Statement]) -> None:
        if any(statement is other for other in (*done, *above)):
            return
        for read in statement.reads:
            if read.is_immediate and read.name in self._bound:
                self._put(self._bound[read.name], done, [*above, statement])
        done.append(statement)


def _rank(statement: Statement) -> tuple[int, Place, int]:
    kinds = (ast.FunctionDef | ast.AsyncFunctionDef, ast.ClassDef)
    kind = next((rank for rank, kind in enumerate(kinds, 1) if isinstance(statement.node, kind)), 0)
    return kind, statement.place, statement.node.col_offset


def _told(hidden: Hidden) -> str:
    return f"{hidden.why} ({'; '.join(map(str, hidden.places))})" if hidden.places else hidden.why


def _refusal(notebook: Path, name: str, cells: Sequence[Cell], hidden: Mapping[str, tuple[Hidden, Read]]) -> str:
    count = f"{len(hidden)} names that live" if len(hidden) > 1 else "a name that lives"
    lines = [f"{name} cannot leave {notebook}: it reads {count} in the notebook alone."]
    for one, (what, read) in sorted(hidden.items(), key=lambda item: item[1][1].place):
        lines.append(f"\n  {one!r} is {what.why}")
        lines += [f"      bound    {place}: {_line(cells, place)}" for place in what.places]
        lines.append(f"      read in  {read.reader}, {read.place}: {_line(cells, read.place)}")
    return "\n".join([*lines, "", _TO_DO])


def _line(cells: Sequence[Cell], place: Place) -> str:
    line = cells[place.cell - 1].lines[place.line - 1].strip()
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 3]}..."
