"""Parses cells into top-level statements with the names that each binds, reads and mutates.

Reads and bindings are taken from what Python compiles the statement to, so that scopes are Python's own: parameters,
local names, comprehensions, closures, class bodies and `global` need no rules here. Nothing is run.
"""

import ast
import dis
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import CodeType

from ml_platform.notebooks.reader import Cell, Place, compiled

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_LOADS = {"LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"}
_COMPREHENSIONS = {"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"}
# Methods that change what they are called on.
_CHANGING = {
    "add", "append", "clear", "difference_update", "discard", "extend", "insert", "intersection_update", "pop",
    "popitem", "remove", "reverse", "setdefault", "sort", "symmetric_difference_update", "update",
}  # fmt: skip


@dataclass(frozen=True)
class Read:
    """A global name that is read.

    Attributes:
        reader: the function or class that reads it, such as `Season.transform`.
        is_immediate: whether it is read where the statement stands, not when a function is called later.
    """

    name: str
    reader: str
    place: Place
    is_immediate: bool


@dataclass(eq=False)  # two equal statements are two: each is compared by identity
class Statement:
    """A statement at the top of a cell.

    Attributes:
        binds: names that it binds or deletes at the top, to the line.
        sets: of these, the names that a function binds by `global`, or that are deleted.
        reads: the global names that its code reads, whenever that runs.
        hints: names in annotations that Python may never look at: in texts, and of local variables.
        changes: names whose objects it changes where it stands, to the line.
    """

    cell: Cell
    node: ast.stmt
    binds: Mapping[str, int] = field(init=False)
    sets: frozenset[str] = field(init=False)
    reads: list[Read] = field(init=False)
    hints: frozenset[str] = field(init=False)
    changes: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        code = compiled([self.node])
        bound = list(_bound(code))
        # Reversed, so that the first line that binds a name is the one that stays.
        self.binds = {name: line for name, line, _ in reversed(bound)}
        self.sets = frozenset(name for name, _, is_set in bound if is_set)
        self.reads = list(self._reads(code, is_immediate=True))
        self.hints = frozenset(_names_in_annotations(self.node))
        self.changes = dict(_changed(self.node))

    @property
    def place(self) -> Place:
        """Where it begins, its decorators included."""
        decorators = getattr(self.node, "decorator_list", [])
        return Place(self.cell.number, min(part.lineno for part in (self.node, *decorators)))

    @property
    def text(self) -> str:
        """Its text, with the comments right above it and on its lines."""
        lines, first, last = self.cell.lines, self.place.line, self.node.end_lineno or self.node.lineno
        others = [other for other in self.cell.body if other is not self.node]
        # Statements that share a line are taken by their columns, as whole lines would bring the others along.
        if any(other.end_lineno == first or other.lineno == last for other in others):  # a = 1; b = 2
            return ast.get_source_segment(self.cell.text, self.node) or ""
        while first > 1 and lines[first - 2].startswith("#"):
            first -= 1
        return "\n".join(lines[first - 1 : last])

    def _reads(self, code: CodeType, *, is_immediate: bool) -> Iterator[Read]:
        """Lists the global names that code reads; in a class, a name that was bound above is the class's own."""
        own: set[str] = set()
        for instruction in dis.get_instructions(code):
            name = str(instruction.argval)
            # A class body reads a name from its own namespace first, once it was stored there.
            if instruction.opname == "STORE_NAME":
                own.add(name)
            elif instruction.opname in _LOADS and not (instruction.opname != "LOAD_GLOBAL" and name in own):
                place = Place(self.cell.number, _line(instruction, code))
                yield Read(name, self._reader(code), place, is_immediate)
            elif isinstance(instruction.argval, CodeType):
                inner = instruction.argval
                # A class body is not optimized and runs where it stands, as comprehensions do; functions run later.
                runs_now = not inner.co_flags & inspect.CO_OPTIMIZED or inner.co_name in _COMPREHENSIONS
                yield from self._reads(inner, is_immediate=is_immediate and runs_now)

    def _reader(self, code: CodeType) -> str:
        if code.co_name == "<module>":
            return str(getattr(self.node, "name", None) or next(iter(self.binds), "a statement"))
        parts = code.co_qualname.split(".")
        return ".".join(part for part in parts if part != "<locals>" and part not in _COMPREHENSIONS)


def statements_of(cells: list[Cell]) -> list[Statement]:
    """Returns the statements at the top of cells, in order."""
    return [Statement(cell, node) for cell in cells for node in cell.body]


def _line(instruction: dis.Instruction, code: CodeType) -> int:
    line = instruction.positions.lineno if instruction.positions else None
    return line or code.co_firstlineno


def _bound(code: CodeType, *, is_top: bool = True) -> Iterator[tuple[str, int, bool]]:
    """Lists the global names that code binds or deletes, with the line and whether that is no plain binding."""
    for instruction in dis.get_instructions(code):
        kind, _, scope = instruction.opname.partition("_")
        if isinstance(instruction.argval, CodeType):
            yield from _bound(instruction.argval, is_top=False)
        # STORE_NAME in an inner code object is a class's attribute; STORE_GLOBAL is a global wherever it stands.
        elif kind in ("STORE", "DELETE") and (scope == "GLOBAL" or (scope == "NAME" and is_top)):
            yield str(instruction.argval), _line(instruction, code), kind == "DELETE" or not is_top


def _names_in_annotations(statement: ast.stmt) -> Iterator[str]:
    for node in ast.walk(statement):
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if isinstance(part, ast.expr):
                yield from _names_in(part)


def _names_in(annotation: ast.expr) -> Iterator[str]:
    """Lists the names in an annotation; the texts of a `Literal` are no names."""
    # `Literal["a"]` holds a text that is no forward reference.
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value).endswith("Literal"):
        yield from _names_in(annotation.value)
    elif isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        try:
            yield from _names_in(ast.parse(annotation.value.strip(), mode="eval").body)
        except SyntaxError:
            return
    elif isinstance(annotation, ast.Name):
        yield annotation.id
    else:
        for part in ast.iter_child_nodes(annotation):
            if isinstance(part, ast.expr):
                yield from _names_in(part)


def _changed(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Lists the names whose objects code at the top changes: `a[0] = 1`, `a.b = 1`, `a.append(1)`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
            yield from _rooted(node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGING:
            yield from _rooted(node.func)
        # Bodies of functions change things when they are called, which is not where the statement stands.
        if not isinstance(node, (*DEFINITIONS, ast.Lambda)):
            yield from _changed(node)


def _rooted(node: ast.expr) -> Iterator[tuple[str, int]]:
    root = node
    while isinstance(root, ast.Attribute | ast.Subscript):
        root = root.value
    if isinstance(root, ast.Name):
        yield root.id, node.lineno
