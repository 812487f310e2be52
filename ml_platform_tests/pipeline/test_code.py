"""A version changes with the code that makes a value, and with nothing else."""

from pathlib import Path

import pytest

from ml_platform.pipeline.code import Code, code_of
from ml_platform_tests.conftest import run_python

STEP = '''"""A module."""

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from shop.helpers import double as twice, unused
from shop import rates

if TYPE_CHECKING:
    from shop.types import Only

FACTOR = 3
TABLE = {"a": lambda x: x + 1}


def helper(x: int) -> int:
    """Says something."""
    # a comment
    return twice(x) * FACTOR


def stranger():
    return 5


class Step:
    """A step."""

    def transform(self, X):
        from shop.late import late

        return late(helper(X)) + rates.RATE + TABLE["a"](1) + np.float64(0)

    def output_schema(self, schema):
        return stranger()
'''


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "__init__.py").write_text("from shop.step import Step\n")
    (folder / "step.py").write_text(STEP)
    (folder / "helpers.py").write_text(
        "def double(x):\n    return inner(x)\n\ndef inner(x):\n    return x + x\n\ndef unused(): pass\n"
    )
    (folder / "rates.py").write_text("RATE = 1\nOTHER = 2\n")
    (folder / "late.py").write_text("def late(x):\n    return open('query.sql').read()\n")
    (folder / "query.sql").write_text("SELECT 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, old
    path.write_text(text.replace(old, new))
    # Files are parsed once for each time of change, and clocks of file systems are coarse.
    import os

    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 1_000_000))


def symbols(path: str = "shop.Step") -> dict[str, str]:
    return dict(code_of([path]).symbols)


def test_the_closure_is_what_the_class_uses(shop: Path) -> None:
    assert set(symbols()) == {
        "shop.step.Step", "shop.step.helper", "shop.step.FACTOR", "shop.step.TABLE", "shop.helpers.double",
        "shop.helpers.inner", "shop.late.late", "shop.late:query.sql", "shop.rates.RATE",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("step.py", "# a comment", "# another comment"),
        ("step.py", '"""Says something."""', '"""Says something else."""'),
        ("step.py", '"""A module."""', '"""Another."""'),
        ("step.py", "return twice(x) * FACTOR", "return (\n        twice(x)\n        * FACTOR\n    )"),
        ("step.py", "def helper(x: int) -> int:", "def helper(x: float) -> object:"),
        ("step.py", "return 5", "return 6"),
        ("step.py", "from shop.types import Only", "from shop.types import Other"),
        ("step.py", "FACTOR = 3", "\n\n\nFACTOR = 3"),
        ("helpers.py", "def unused(): pass", "def unused(): return 1"),
        ("rates.py", "OTHER = 2", "OTHER = 3"),
    ],
    ids=lambda text: text.strip()[:30],
)
def test_what_has_no_say_changes_nothing(shop: Path, file: str, old: str, new: str) -> None:
    before = symbols()
    edit(shop / file, old, new)
    assert symbols() == before


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("step.py", "late(helper(X))", "late(helper(X + 1))", "shop.step.Step"),
        ("step.py", "twice(x) * FACTOR", "twice(x) + FACTOR", "shop.step.helper"),
        ("step.py", "FACTOR = 3", "FACTOR = 4", "shop.step.FACTOR"),
        ("step.py", "lambda x: x + 1", "lambda x: x + 2", "shop.step.TABLE"),
        ("helpers.py", "return inner(x)", "return inner(x) + 0", "shop.helpers.double"),
        ("helpers.py", "return x + x", "return 2 * x", "shop.helpers.inner"),
        ("late.py", "return open", "return 1, open", "shop.late.late"),
        ("query.sql", "SELECT 1", "SELECT 2", "shop.late:query.sql"),
        ("rates.py", "RATE = 1", "RATE = 2", "shop.rates.RATE"),
    ],
    ids=lambda text: text.strip()[:30],
)
def test_what_is_used_changes_itself_alone(shop: Path, file: str, old: str, new: str, changed: str) -> None:
    before = symbols()
    edit(shop / file, old, new)
    after = symbols()
    assert {name for name in after if after[name] != before[name]} == {changed}
    assert set(after) == set(before)


def test_a_base_class_a_decorator_and_a_default_are_used(shop: Path) -> None:
    (shop / "more.py").write_text(
        "from shop.helpers import double\nfrom shop.rates import RATE, OTHER\n\n"
        "class Base: pass\n\ndef mark(c): return c\n\n@mark\nclass More(Base):\n"
        "    def f(self, x=RATE): pass\n"
    )
    assert set(symbols("shop.more.More")) == {"shop.more.More", "shop.more.Base", "shop.more.mark", "shop.rates.RATE"}


def test_what_a_module_does_when_it_is_imported_counts(shop: Path) -> None:
    edit(shop / "rates.py", "OTHER = 2", "OTHER = 2\nimport sys\nsys.setrecursionlimit(900)")
    before = symbols()
    assert "shop.rates.<import>" in before
    edit(shop / "rates.py", "(900)", "(901)")
    after = symbols()
    assert {name for name in after if after[name] != before[name]} == {"shop.rates.<import>"}


def test_a_module_that_is_named_whole_counts_whole(shop: Path) -> None:
    (shop / "all.py").write_text("from shop import rates\n\ndef f():\n    return vars(rates)\n")
    before = symbols("shop.all.f")
    edit(shop / "rates.py", "OTHER = 2", "OTHER = 3")
    assert symbols("shop.all.f") != before


def test_installed_code_counts_by_the_version_of_its_distribution(shop: Path) -> None:
    code = code_of(["shop.Step"])
    import numpy as np

    assert code.distributions["numpy"] == np.__version__
    assert "pandas" not in code.distributions
    code = code_of(["sklearn.preprocessing.StandardScaler"])
    assert code.symbols == {}
    assert {"scikit-learn", "numpy", "scipy", "python"} <= set(code.distributions)


def test_a_relative_import_and_a_package_are_followed(shop: Path) -> None:
    (shop / "relative.py").write_text(
        "from . import rates\nfrom .helpers import double\n\ndef f():\n    return double(rates.RATE)\n"
    )
    assert set(symbols("shop.relative.f")) >= {"shop.rates.RATE", "shop.helpers.double", "shop.helpers.inner"}


NOTEBOOK = """
from ml_platform.pipeline.code import code_of
RATE = {rate}
def helper(x):
    return x * RATE
class Mine:
    def transform(self, X):
        return helper(X)
print(sorted(code_of(["__main__.Mine"]).symbols.items()))
"""


def run_as_cell(rate: object) -> str:
    """Runs code as a notebook does: in `__main__`, its source kept by `linecache` alone."""
    cell = NOTEBOOK.format(rate=rate)
    return run_python(f"""
import linecache
cell = {cell!r}
linecache.cache["<cell 1>"] = (len(cell), None, cell.splitlines(keepends=True), "<cell 1>")
exec(compile(cell, "<cell 1>", "exec"))
""")


def test_what_a_notebook_defines_counts_with_the_globals_that_it_uses() -> None:
    assert run_as_cell(1).count("__main__.") == 3
    assert run_as_cell(1) == run_as_cell("1  # a comment")
    assert run_as_cell(1) != run_as_cell(2)


def test_a_global_without_a_plain_value_cannot_be_told(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="Undescribable"):
        run_as_cell("object()")


def test_codes_are_joined() -> None:
    joined = Code({"a": "1"}, {}, {"x": "1"}) | Code({"b": "2"}, {}, {"y": "2"})
    assert (joined.symbols, joined.distributions) == ({"a": "1", "b": "2"}, {"x": "1", "y": "2"})
