"""`ml-platform lift`: a class leaves its notebook with all that it needs, or is refused with what it lacks."""

import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from ml_platform.cli.main import commands
from ml_platform.errors import PlatformError
from ml_platform.notebooks import extraction
from ml_platform.notebooks.dependencies import lift
from ml_platform.notebooks.extraction import lift_class
from ml_platform.notebooks.module_source import module_text
from ml_platform.project import Project

IMPORTS = "import pandas as pd\nimport json, re\nfrom ml_platform import DataTransformer as Base\n%matplotlib inline"
CONSTANTS = "# By month.\nSEASON_OF = {12: 'winter', 1: 'winter', 7: 'summer'}  # the others: ''\nUNUSED = 1"
HELPER = "def season_of(month: int) -> str:\n    return SEASON_OF.get(month, '')"
SEASON = """
class Season(Base):
    \"\"\"Adds the season of a date.

    Args:
        column: a date.
    \"\"\"

    def __init__(self, column: str = "date"):
        self.column = column

    def transform(self, X: "pd.DataFrame") -> "pd.DataFrame":
        return X.assign(season=[season_of(month) for month in X[self.column].dt.month])
""".strip()


def notebook(folder: Path, *cells: str, name: str = "idea.ipynb") -> Path:
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    book.cells.insert(0, nbformat.v4.new_markdown_cell("# An idea"))
    nbformat.write(book, folder / name)
    return folder / name


def needing(code: str) -> str:
    """A class whose method has a body of code."""
    return "class Wanted:\n    def transform(self, X):\n        " + code.replace("\n", "\n        ")


def taken(folder: Path, *cells: str) -> str:
    """The text of what is lifted."""
    return module_text(lift(notebook(folder, *cells), "Wanted"), "ml_platform")


def refusal(folder: Path, *cells: str) -> str:
    with pytest.raises(PlatformError, match=r"Wanted cannot leave .*idea.ipynb") as caught:
        lift(notebook(folder, *cells), "Wanted")
    return str(caught.value)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with an empty package `lifted_steps`."""
    (tmp_path / "lifted_steps").mkdir()
    (tmp_path / "lifted_steps" / "__init__.py").touch()
    project = Project(tmp_path, "lifted_steps", "lifted_steps.defs", "lifted_steps.definitions")
    monkeypatch.setattr(extraction, "find_project", lambda: project)
    return tmp_path


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process is started: whatever is written is taken to be good."""
    monkeypatch.setattr(extraction, "_ask_child", lambda *_: {"problems": [], "required": []})


def run(path: Path, name: str = "Season", *more: str) -> Result:
    return CliRunner().invoke(commands, ["lift", str(path), name, "--to", "lifted_steps.season", *more])


def files(root: Path) -> Sequence[str]:
    return sorted(path.name for path in (root / "lifted_steps").iterdir() if path.name != "__pycache__")


def test_a_lifted_class_answers_as_it_did_and_says_what_to_do_next(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = notebook(root, IMPORTS, CONSTANTS, HELPER, SEASON, "Season().transform(frame)")
    done = run(path)
    assert done.exit_code == 0, done.exception
    for told in (
        "Season is now in lifted_steps/season.py",
        "came along: Base, pd, SEASON_OF, season_of",
        "from lifted_steps.season import Season",
        "ml-platform check-transformer lifted_steps.season.Season --examples",
        "uses: lifted_steps.season.Season",
    ):
        assert told in done.output
    frame = pd.DataFrame({"date": pd.to_datetime(["2013-01-01", "2013-07-01", "2013-10-01"])})
    names: dict[str, object] = {}
    exec("\n".join([IMPORTS.replace("%matplotlib inline", ""), CONSTANTS, HELPER, SEASON]), names)
    monkeypatch.syspath_prepend(root)
    monkeypatch.delitem(sys.modules, "lifted_steps", raising=False)
    lifted = importlib.import_module("lifted_steps.season").Season
    pd.testing.assert_frame_equal(lifted().transform(frame), names["Season"]().transform(frame))  # type: ignore[operator]


@pytest.mark.usefixtures("untried")
def test_the_module_keeps_the_notebooks_text_in_the_houses_order(root: Path) -> None:
    moved = lift_class(notebook(root, IMPORTS, HELPER, SEASON, CONSTANTS), "Season", "lifted_steps.season")
    assert (root / moved.path).read_text() == (
        '"""Adds the season of a date."""\n\n'
        "import pandas as pd\n"
        "from ml_platform import DataTransformer as Base\n\n"
        "# By month.\n"
        "SEASON_OF = {12: \"winter\", 1: \"winter\", 7: \"summer\"}  # the others: ''\n\n\n"
        "def season_of(month: int) -> str:\n    return SEASON_OF.get(month, \"\")\n\n\n" + SEASON + "\n"
    )  # fmt: skip


@pytest.mark.usefixtures("untried")
def test_equal_content_is_success_and_other_content_needs_force(root: Path) -> None:
    path = notebook(root, IMPORTS, CONSTANTS, HELPER, SEASON)
    assert run(path).exit_code == 0
    assert "is there already, unchanged" in run(path).output
    other = notebook(root, IMPORTS, CONSTANTS.replace("winter", "cold"), HELPER, SEASON)
    refused = run(other)
    assert isinstance(refused.exception, PlatformError)
    assert "lifted_steps/season.py is there already and says something else" in str(refused.exception)
    assert "cold" not in (root / "lifted_steps" / "season.py").read_text()
    assert run(other, "Season", "--force").exit_code == 0
    assert "cold" in (root / "lifted_steps" / "season.py").read_text()


def test_what_is_no_good_in_a_fresh_process_is_taken_back(root: Path) -> None:
    cell = SEASON.replace("    def __init__", "    season_of(None, None)\n\n    def __init__")
    path = notebook(root, IMPORTS, CONSTANTS, HELPER, cell)
    for before in (None, "BEFORE = 1\n"):
        if before is not None:
            (root / "lifted_steps" / "season.py").write_text(before)
        done = run(path, "Season", "--force")
        assert isinstance(done.exception, PlatformError)
        assert "it cannot be imported: TypeError: season_of() takes 1" in str(done.exception)
        assert files(root) == ["__init__.py", *(["season.py"] if before else [])]
    assert (root / "lifted_steps" / "season.py").read_text() == "BEFORE = 1\n"


CONVERTS = SEASON.replace("self.column = column", "self.column = column.lower()")


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        (SEASON, []),
        (SEASON.replace(' = "date"', ""), []),
        (f"import beside_the_notebook\n{SEASON}", ["No module named 'beside_the_notebook': a module that lies beside"]),
        (CONVERTS, ["Season: the constructor works with 'column'"]),
        (CONVERTS.replace(' = "date"', ""), ["Season: the constructor works with its parameters (AttributeError"]),
        (SEASON.replace("(Base)", ""), ["Season has no fit and no get_params; expected a transformer"]),
        (f"{SEASON}\n\n    rows = 'all'", ["Season: rows is 'all': Expected one of: aggregate, filter, preserve"]),
        ("raise OSError('no lake')", ["it cannot be imported: OSError: no lake"]),
    ],
)
def test_a_fresh_process_tells_what_the_check_of_definitions_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cell: str, told: list[str]
) -> None:
    (tmp_path / "tried_step.py").write_text("\n".join([IMPORTS.replace("%matplotlib inline", ""), cell]))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tried_step", raising=False)
    extraction.print_problems("tried_step.Season")
    found = json.loads(capsys.readouterr().out)
    assert len(found["problems"]) == len(told)
    assert all(problem.startswith(start) for problem, start in zip(found["problems"], told, strict=True))
    assert told or found["required"] == (["column"] if "column: str)" in cell else [])


def test_parameters_that_must_be_given_are_in_what_to_do_next(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "_ask_child", lambda *_: {"problems": [], "required": ["column"]})
    done = run(notebook(root, IMPORTS, CONSTANTS, HELPER, SEASON.replace(' = "date"', "")))
    assert """--params '{"column": ...}' --examples""" in done.output
    assert "with: {column: ...}" in done.output


@pytest.mark.parametrize(
    ("to", "told"),
    [
        ("season", "no dotted name of a module in a package"),
        ("lifted_steps.my-season", "no dotted name"),
        ("lifted_steps.class", "no dotted name"),
        ("no_package.season", "no package 'no_package'"),
        ("lifted_steps.deeper", "is a package; name a module in it"),
    ],
)
def test_targets_that_are_none_are_refused(root: Path, to: str, told: str) -> None:
    (root / "lifted_steps" / "deeper").mkdir()
    with pytest.raises(PlatformError, match=told):
        lift_class(notebook(root, SEASON), "Season", to)


HIDDEN = {
    "a_call": (["flights = read()"], "return flights", "'flights' is a computed value (the call of read)", "cell 1, line 1", "cell 2, line 3"),
    "a_file": (["import pandas as pd\nlate = pd.read_csv('late.csv')"], "return late", "'late' is a computed value (the call of pd.read_csv)", "cell 1, line 2", "cell 2, line 3"),
    "a_loop": (["for month in range(12):\n    print(month)"], "return month", "'month' is bound by a loop", "cell 1, line 1", "cell 2, line 3"),
    "a_with": (["x = 1\nwith open('f') as file:\n    pass"], "return file", "'file' is bound by a `with`", "cell 1, line 2", "cell 2, line 3"),
    "an_if": (["if True:\n    LIMIT = 1"], "return LIMIT", "'LIMIT' is bound inside of an `if`", "cell 1, line 2", "cell 2, line 3"),
    "undefined": (["x = 1"], "\nreturn vanished", "'vanished' is bound nowhere in the notebook", "", "cell 2, line 4"),
    "notebooks_own": ([], "display(X)", "'display' is there in notebooks alone", "", "cell 1, line 3"),
    "history": ([], "return _12", "'_12' is there in notebooks alone", "", "cell 1, line 3"),
    "a_magic": ([], "!ls", "'get_ipython' is there in notebooks alone", "", "cell 1, line 3"),
    "shell_output": (["names = !ls"], "return names", "'names' is a computed value (the call of get_ipython)", "cell 1, line 1", "cell 2, line 3"),
    "timed": (["%time flights = read()"], "return flights", "'flights' is a computed value", "cell 1, line 1", "cell 2, line 3"),
    "rebound": (["LIMIT = 1", "LIMIT = 2"], "return LIMIT", "'LIMIT' is bound more than once", "cell 2, line 1", "cell 3, line 3"),
    "augmented": (["COUNT = 1", "COUNT += 1"], "return COUNT", "'COUNT' is bound more than once", "cell 2, line 1", "cell 3, line 3"),
    "changed": (["ALL = []", "for n in range(3):\n    ALL.append(n)"], "return ALL", "'ALL' is changed after it was bound", "cell 2, line 2", "cell 3, line 3"),
    "item_set": (["ALL = {}", "ALL['a'] = 1"], "return ALL", "'ALL' is changed after it was bound", "cell 2, line 1", "cell 3, line 3"),
    "deleted": (["ALL = 1", "del ALL"], "return ALL", "'ALL' is bound more than once", "cell 2, line 1", "cell 3, line 3"),
    "by_global": (["def set_it():\n    global FLAG\n    FLAG = 1"], "return FLAG", "'FLAG' is bound by a function, with `global`", "cell 1, line 3", "cell 2, line 3"),
    "star": (["x = 1\nfrom statistics import *"], "return median(X)", "'median' is bound by a star; write `from statistics import median`", "cell 1, line 2", "cell 2, line 3"),
    "star_over_builtin": (["from math import *"], "return pow(X, 2)", "'pow' is bound by a star", "cell 1, line 1", "cell 2, line 3"),
    "unknown_star": (["from no_such_module import *"], "return median(X)", "'median' is bound by a star", "cell 1, line 1", "cell 2, line 3"),
    "builtin_rebound": (["sum = read()"], "return sum(X)", "'sum' is a computed value", "cell 1, line 1", "cell 2, line 3"),
    "environment": (["import os\nLAKE = os.environ['LAKE']"], "return LAKE", "'LAKE' is a computed value (os.environ, which differs", "cell 1, line 2", "cell 2, line 3"),
    "through_a_constant": (["rows = read()\nFIRST = rows[0]"], "return FIRST", "'rows' is a computed value", "cell 1, line 1", "FIRST, code cell 1, line 2"),
    "through_a_helper": (["rows = read()\ndef f():\n    return rows"], "return f()", "'rows' is a computed value", "cell 1, line 1", "f, code cell 1, line 3"),
    "nested_function": (["rows = read()"], "def inner():\n    return lambda: rows\nreturn inner()", "'rows' is", "cell 1, line 1", "Wanted.transform.inner.<lambda>, code cell 2, line 4"),
    "comprehension": (["rows = read()"], "return [x for x in X if x in rows]", "'rows' is", "cell 1, line 1", "Wanted.transform, code cell 2, line 3"),
    "two_imports": (["from json import loads", "from pickle import loads"], "return loads(X)", "'loads' is bound more than once", "cell 2, line 1", "cell 3, line 3"),
}  # fmt: skip


@pytest.mark.parametrize(("cells", "code", "why", "bound", "read"), HIDDEN.values(), ids=HIDDEN)
def test_a_hidden_global_is_refused_by_name_with_its_places(
    tmp_path: Path, cells: list[str], code: str, why: str, bound: str, read: str
) -> None:
    told = refusal(tmp_path, *cells, needing(code))
    assert why in told
    assert "a parameter of the constructor" in told
    assert read in next(line for line in told.splitlines() if line.startswith("      read in"))
    assert not bound or any(bound in line for line in told.splitlines() if line.startswith("      bound"))


@pytest.mark.parametrize(
    ("head", "line"),
    [
        ("class Wanted:\n    def f(self, by=rows):\n        pass", 2),
        ("@rows\nclass Wanted:\n    pass", 1),
        ("class Wanted:\n    @rows.cached\n    def f(self):\n        pass", 2),
        ("class Wanted(rows):\n    pass", 1),
        ("class Wanted(metaclass=rows):\n    pass", 1),
        ("class Wanted:\n    all = rows", 2),
        ("class Wanted:\n    rows = rows", 2),
        ("class Wanted:\n    all = [row for row in rows]", 2),
        ("class Wanted:\n    def f(self, by: rows):\n        pass", 2),
        ("from __future__ import annotations\nclass Wanted:\n    def f(self) -> rows:\n        pass", 3),
        ("class Wanted:\n    class Inner:\n        def f(self):\n            return rows", 4),
        ("class Wanted:\n    rows = 1\n    def f(self):\n        return rows", 4),
        ("class Wanted:\n    def f(self):\n        global rows\n        rows += 1", 4),
    ],
)
def test_a_hidden_global_is_found_wherever_a_class_reads_it(tmp_path: Path, head: str, line: int) -> None:
    assert f", code cell 2, line {line}: " in refusal(tmp_path, "rows = read()", head)


def test_all_hidden_globals_are_told_at_once(tmp_path: Path) -> None:
    told = refusal(tmp_path, "a = read()", "for b in range(2):\n    pass", needing("return a, b, c"))
    assert "it reads 3 names that live in the notebook alone" in told
    assert [line.split("'")[1] for line in told.splitlines() if line.startswith("  '")] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "head",
    [
        needing("rows = 1\nreturn rows"),
        needing("for rows in X:\n    pass\nreturn rows"),
        needing("with X as rows:\n    return rows"),
        needing("if (rows := X):\n    return rows"),
        needing("try:\n    pass\nexcept ValueError as rows:\n    print(rows)"),
        needing("import json as rows\nreturn rows"),
        needing("def rows():\n    return rows\nreturn rows()"),
        needing("rows = 1\ndef inner():\n    nonlocal rows\n    rows = 2\n    return rows\nreturn inner"),
        needing("return [rows for rows in X], {rows: 1 for rows in X}, (lambda rows: rows)"),
        needing("return self.rows, X.rows, dict(rows=1), 'rows'"),
        "class Wanted:\n    def f(self, rows):\n        return [rows for _ in range(2)]",
        "class Wanted:\n    rows = 1\n    more = rows + 1",
        "class Wanted:\n    def rows(self):\n        return self.rows()\n    again = property(rows)",
        "from typing import Literal\nclass Wanted:\n    kind: Literal['rows'] = 'rows'",
        "class Wanted:\n    '''rows'''\n    def f(self, X: 'rows'):\n        return X",
    ],
)
def test_names_of_its_own_are_not_refused(tmp_path: Path, head: str) -> None:
    text = taken(tmp_path, "rows = read()", head)
    assert "read()" not in text
    compile(text, "lifted", "exec")


CONSTANT_CELLS = [
    "LIMIT = 1", "LIMIT: int = -1", "LIMIT = frozenset({1, 2})", "import re\nLIMIT = re.compile(r'\\d+')", "LIMIT, OTHER = 1, (2, 3)",
    "from datetime import timedelta as delta\nLIMIT = delta(days=1)", "LOW = 1\nLIMIT = [LOW, LOW + 1]", "LIMIT = lambda x: x + 1",
    "import pandas as pd\nLIMIT = pd.DataFrame", "LIMIT = {k: v for k, v in {'a': 1}.items()}", "LIMIT = 'a b'.split()",
    "LIMIT = 1\nprint(LIMIT)", "LIMIT = 1; other = read()", "LIMIT = 1\nLIMIT = 1",
]  # fmt: skip


@pytest.mark.parametrize("cell", CONSTANT_CELLS)
def test_constants_come_along(tmp_path: Path, cell: str) -> None:
    names: dict[str, object] = {}
    exec(taken(tmp_path, cell, needing("return LIMIT")), names)
    assert "LIMIT" in names
    assert "other" not in names


def test_only_imports_that_are_needed_come_along_sorted(tmp_path: Path) -> None:
    text = taken(
        tmp_path,
        "from __future__ import annotations\nimport re, json\nimport os.path\nimport numpy as np, pandas as pd",
        "from collections.abc import Sequence, Iterator as Each, Mapping\nfrom ml_platform.errors import PlatformError",
        "import json\n" + needing("return os.path, np, Each, Sequence, json.loads, PlatformError"),
    )
    assert text.split("\n\n\n", maxsplit=1)[0] == (
        '"""Wanted, from idea.ipynb."""\n\nfrom __future__ import annotations\n\n'
        "import json\nimport os.path\nfrom collections.abc import Iterator as Each\nfrom collections.abc import Sequence\n\n"
        "import numpy as np\n\nfrom ml_platform.errors import PlatformError"
    )


def test_what_is_needed_to_define_comes_first(tmp_path: Path) -> None:
    text = taken(
        tmp_path,
        "class Base:\n    limit = 3\nTWICE = [Base]\ndef marked(kind, with_=Base):\n    return kind",
        "@marked\nclass Wanted(Base):\n    all = TWICE",
    )
    exec(text, {})
    assert text.index("class Base") < text.index("TWICE =") < text.index("@marked")


def test_magics_are_left_out(tmp_path: Path) -> None:
    text = taken(
        tmp_path,
        "%load_ext autoreload\n!pip list | \\\n    head\nLIMIT = (100\n    % 7)\nTEXT = '''\n%kept\n?'''\nLIMIT?\n?LIMIT",
        "%%bash\nexit 1",
        "%%time\nOTHER = 2",
        needing("return LIMIT, TEXT, OTHER"),
    )
    names: dict[str, object] = {}
    exec(text, names)
    assert (names["LIMIT"], names["TEXT"], names["OTHER"]) == (2, "\n%kept\n?", 2)
    assert "get_ipython" not in text


def test_a_class_that_is_defined_twice_is_taken_as_it_was_last(tmp_path: Path) -> None:
    path = notebook(tmp_path, needing("return 1"), "x = 1", needing("return 2"))
    lifted = lift(path, "Wanted")
    assert "return 2" in module_text(lifted, "ml_platform")
    assert "return 1" not in module_text(lifted, "ml_platform")
    assert lifted.notes == ["Wanted is defined 2 times; the last definition was taken (code cell 3, line 1)"]


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (["class Wnted:\n    pass"], r"no class 'Wanted' in .*did you mean 'Wnted'\?(.|\n)*Is the notebook saved"),
        (["x = 1"], r"Expected one of: \(none exist\)"),
        (["if True:\n    class Wanted:\n        pass"], r"bound there, by no class at the top of a cell: code cell 1"),
        (["from a.b import Wanted"], "Wanted is imported in .*, from a.b.Wanted: it is in a module already"),
        (["class Wanted:\n    pass", "Wanted = f(Wanted)"], "it is bound more than once"),
        (["class Wanted:\n    pass", "Wanted.limit = 3"], "it is changed after it was bound"),
        (["x = 1", "y = 1\n\nfor the loop"], r"code cell 2, line 3 is not Python: .*'for the loop'"),
        (["return 1"], "code cell 1, line 1 is not Python"),
    ],
)
def test_what_is_no_class_of_the_notebook_is_told(tmp_path: Path, cells: list[str], told: str) -> None:
    with pytest.raises(PlatformError, match=told):
        lift(notebook(tmp_path, *cells), "Wanted")


def test_what_is_no_notebook_is_told(tmp_path: Path) -> None:
    (tmp_path / "text.ipynb").write_text("no JSON")
    (tmp_path / "other.ipynb").write_text('{"a": 1}')
    for name, told in (
        ("text.ipynb", "is no notebook"),
        ("other.ipynb", "is no notebook"),
        ("none.ipynb", "is it saved"),
    ):
        with pytest.raises(PlatformError, match=told):
            lift(tmp_path / name, "Wanted")
    with pytest.raises(PlatformError, match="is no name of a class"):
        lift_class(tmp_path / "text.ipynb", "a-b", None)
    book = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}})
    nbformat.write(book, tmp_path / "r.ipynb")
    with pytest.raises(PlatformError, match="a notebook in 'r'; expected one in Python"):
        lift(tmp_path / "r.ipynb", "Wanted")
