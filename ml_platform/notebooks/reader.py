"""Reads the Python of a notebook's code cells, with IPython's magics replaced."""

import ast
import io
import re
import tokenize
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

from ml_platform.errors import PlatformError
from ml_platform.extras import needing

# What IPython makes of a magic or a shell command, too: code that needs it cannot leave the notebook.
_CALL = "get_ipython()"
_PYTHON_CELLS = ("time", "capture", "prun")  # cell magics whose text is run in the notebook's own namespace
_MAGIC = re.compile(r"^(?P<indent>\s*)(?P<target>[\w.,\s]+=\s*)?(?P<magic>[%!].*|\?+[\w.%].*|[\w.%]+\?{1,2}\s*)$")
_TIMED = re.compile(r"%time\s+(?P<code>.+)")


@dataclass(frozen=True, order=True)
class Place:
    """A line of a notebook; code cells are counted from 1, from the top, and so are a cell's lines."""

    cell: int
    line: int

    def __str__(self) -> str:
        return f"code cell {self.cell}, line {self.line}"


@dataclass(frozen=True)
class Cell:
    """A cell of Python.

    Attributes:
        text: what the cell says, magics replaced line by line.
    """

    number: int
    text: str
    body: tuple[ast.stmt, ...]

    @property
    def lines(self) -> list[str]:
        """Its lines, as the parser counts them."""
        return self.text.split("\n")


def read_notebook(path: Path) -> list[Cell]:
    """Reads the code cells of a notebook, in order, without IPython's magics.

    Raises:
        PlatformError: no notebook, or a cell that is not Python.
    """
    book = _opened(path)
    language = _language(book)
    if language != "python":
        raise PlatformError(f"{path} is a notebook in {language!r}; expected one in Python")
    texts = [cell.source for cell in book.cells if cell.cell_type == "code"]
    return [_parsed(path, number, text) for number, text in enumerate(texts, 1)]


def compiled(body: list[ast.stmt]) -> CodeType:
    """Returns compiled statements, with `await` allowed at the top as in a notebook."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the notebook's own, told when its cells ran
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code: CodeType = compile(ast.Module(body, []), "<notebook>", "exec", flags, dont_inherit=True, optimize=0)
    return code


def without_magics(text: str) -> str:
    """Returns a cell's text with IPython's syntax replaced, line by line.

    >>> print(without_magics("%matplotlib inline\\nfiles = !ls\\nprint(7\\n  % 4)"))
    get_ipython()
    files = get_ipython()
    print(7
      % 4)
    """
    lines = text.replace("\r\n", "\n").split("\n")
    first = next((index for index, line in enumerate(lines) if line.strip()), 0)
    if lines[first].startswith("%%"):
        name = lines[first][2:].split(maxsplit=1)[0:1]
        # Emptied, not removed: messages name lines of cells as people see them.
        if name and name[0] in _PYTHON_CELLS:
            lines[first] = ""
        else:
            lines = [""] * len(lines)
    done: list[str] = []
    is_command = False  # a shell command goes on where its line ends with a backslash
    for line in lines:
        is_going_on = is_command and bool(done) and lines[len(done) - 1].endswith("\\")
        replaced = "" if is_going_on else _without_magic(line, done)
        is_command = is_going_on or replaced != line
        done.append(replaced)
    return "\n".join(done)


def _without_magic(line: str, before: list[str]) -> str:
    found = _MAGIC.match(line)
    # `% 4` may be the rest of an expression, and `!` part of a text that goes over lines.
    if found is None or _is_open("\n".join(before)):
        return line
    timed = _TIMED.match(found["magic"])
    code = timed["code"] if timed and not found["target"] else _CALL
    return f"{found['indent']}{found['target'] or ''}{code}"


def _is_open(text: str) -> bool:
    """Returns whether the next line belongs to a statement or string that text began."""
    if text.endswith("\\"):
        return True
    try:
        list(tokenize.generate_tokens(io.StringIO(text).readline))
    except tokenize.TokenError as error:
        # tokenize says it in words only: other errors mean broken Python, which the parser reports better.
        return "EOF in multi-line" in str(error) or "unterminated triple-quoted" in str(error)
    except SyntaxError:
        return False
    return False


def _opened(path: Path) -> Any:
    if not path.is_file():
        hint = "" if path.suffix == ".ipynb" else "; expected a file that ends in .ipynb"
        raise PlatformError(f"no notebook {str(path)!r}{hint}; is it saved, and is this its folder?")
    with needing("nbformat"):
        import nbformat

    read: Any = nbformat.read  # it carries no types
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is missing of newer formats
            book = read(path, as_version=4)
            # read repairs some faults with a warning and lets others through.
            nbformat.validate(book)
    except Exception as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise PlatformError(f"{path} is no notebook: expected a saved .ipynb in format 4 ({reason:.200})") from error
    return book


def _language(book: Any) -> str:
    told = book.metadata.get("language_info", {}).get("name") or book.metadata.get("kernelspec", {}).get("language")
    return str(told or "python").lower()


def _parsed(path: Path, number: int, text: str) -> Cell:
    text = without_magics(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
        # `return` at the top and the like pass the parser and are refused by the compiler.
        compiled(tree.body)
    except (SyntaxError, ValueError) as error:
        place = Place(number, getattr(error, "lineno", None) or 1)
        raise PlatformError(
            f"{path}: {place} is not Python: {getattr(error, 'msg', error)}: "
            f"{text.split(chr(10))[place.line - 1].strip()[:80]!r}\n"
            "Mend the cell, delete it, or make it Raw or Markdown; then save and lift again."
        ) from error
    return Cell(number, text, tuple(tree.body))
