"""Collects a class of a notebook with everything that it needs, from the source alone: nothing is run."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ml_platform.errors import PlatformError, expected_one_of
from ml_platform.notebooks.reader import Cell, Place, read_notebook
from ml_platform.notebooks.scope import Hidden, Scope
from ml_platform.notebooks.statements import Read, Statement, statements_of

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


def lift(notebook: Path, name: str) -> Lifted:
    """Collects the last definition of a class with what it needs, and what that needs.

    Raises:
        PlatformError: no such notebook or class, or it reads names that live in the notebook alone, all of them named.
    """
    cells = read_notebook(notebook)
    scope = Scope(statements_of(cells))
    found = _Dependencies(scope)
    found.take(_definition_of(scope, name, notebook))
    if found.hidden:
        raise PlatformError(_refusal(notebook, name, cells, found.hidden))
    future = any(isinstance(s.node, ast.ImportFrom) and s.node.module == "__future__" for s in scope.statements)
    return Lifted(name, notebook, found.imports, found.in_order(), found.notes, future)


def _definition_of(scope: Scope, name: str, notebook: Path) -> Statement:
    """Returns the last definition of a class, and refuses a name that is bound to none, or to something else too."""
    classes = {s.node.name for s in scope.statements if isinstance(s.node, ast.ClassDef)}
    if name in classes:
        found = scope.find(name)
        if isinstance(found, Hidden):
            raise PlatformError(f"{name} cannot leave {notebook}: it is {found}; define it in one place")
        return found[-1]
    bound = scope.bindings.get(name, [])
    if name in scope.imports:
        raise PlatformError(
            f"{name} is imported in {notebook} ({bound[-1].place}), from {scope.imports[name]}: "
            "it is in a module already"
        )
    places = ", ".join(str(one.place) for one in bound)
    hint = f" ({name} is bound there, by no class at the top of a cell: {places})" if bound else ""
    raise PlatformError(
        f"no class {name!r} in {notebook}{hint}: {expected_one_of(name, classes)}\nIs the notebook saved?"
    )


@dataclass
class _Dependencies:
    """What a statement needs: follows names from statement to statement, each once."""

    scope: Scope
    imports: dict[str, list[Statement]] = field(default_factory=dict)
    hidden: dict[str, tuple[Hidden, Read]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _taken: list[Statement] = field(default_factory=list)
    _bound: dict[str, Statement] = field(default_factory=dict)  # name to the one of them that binds it

    def take(self, statement: Statement) -> None:
        """Takes a statement and all that it needs."""
        pending = [statement]
        while pending:
            one = pending.pop()
            if one not in self._taken:
                self._taken.append(one)
                self._note_earlier(one)
                pending += self._needed_by(one)

    def _needed_by(self, statement: Statement) -> Iterator[Statement]:
        for read in statement.reads:
            found = self.scope.find(read.name)
            if isinstance(found, Hidden):
                self.hidden.setdefault(read.name, (found, read))
            else:
                yield from self._bind(read.name, found)
        # A name that only stands in an annotation is brought along if it can be, and is no obstacle if it cannot:
        # Python may never evaluate it.
        for name in statement.hints:
            found = self.scope.find(name)
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
        count = len(self.scope.bindings.get(str(name), []))
        if count > 1:
            self.notes.append(f"{name} is defined {count} times; the last definition was taken ({statement.place})")

    def in_order(self) -> list[Statement]:
        """Puts constants before functions before classes, as in the notebook, unless one needs another to exist."""
        done: list[Statement] = []

        def put(statement: Statement, above: Sequence[Statement]) -> None:
            if statement in done or statement in above:  # above: two that need each other stand as they did
                return
            for read in statement.reads:
                if read.is_immediate and read.name in self._bound:
                    put(self._bound[read.name], [*above, statement])
            done.append(statement)

        for statement in sorted(self._taken, key=_rank):
            put(statement, [])
        return done


def _rank(statement: Statement) -> tuple[int, Place, int]:
    kinds = (ast.FunctionDef | ast.AsyncFunctionDef, ast.ClassDef)
    kind = next((rank for rank, kind in enumerate(kinds, 1) if isinstance(statement.node, kind)), 0)
    return kind, statement.place, statement.node.col_offset


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
