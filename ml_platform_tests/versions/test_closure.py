"""A version changes with the code that makes a value, and with nothing else."""

from pathlib import Path

import pytest

from ml_platform.versions.closure import Code, code_of
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
    assert set(symbols("shop.more.More")) == {
        "shop.more.More", "shop.more.Base", "shop.more.mark", "shop.rates.RATE",
        "shop.more.<import>",  # a decorator of the project may keep what it decorates
    }  # fmt: skip


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


MISSED_EASILY = {
    "all names of a module": ("from shop.rates import *\n\ndef f():\n    return RATE\n", "rates.py", "RATE = 1", "RATE = 2"),
    "one of two imports": (
        "try:\n    from shop.late import late as g\nexcept ImportError:\n    from shop.helpers import double as g\n\ndef f():\n    return g(1)\n",
        "late.py", "return open", "return 1, open",
    ),
    "a chain of modules": ("import shop.rates\n\ndef f():\n    return shop.rates.RATE\n", "rates.py", "RATE = 1", "RATE = 2"),
    "a namespace package": ("import loose.mod\n\ndef f():\n    return loose.mod.value()\n", "../loose/mod.py", "return 1", "return 2"),
    "a loop": ("R = {}\nfor k in (1, 2):\n    R[k] = k\n\ndef f():\n    return R\n", "case.py", "= k", "= k + 1"),
    "a binding with an effect": ("R = {}\n_ = R.update(a=1)\n\ndef f():\n    return R\n", "case.py", "a=1", "a=2"),
    "an initializer": ("C = 0\ndef init():\n    global C\n    C = 1\nok = init()\n\ndef f():\n    return C\n", "case.py", "C = 1", "C = 2"),
    "a registering decorator": ("R = []\ndef reg(g):\n    R.append(g)\n    return g\n\n@reg\ndef a():\n    return 1\n\ndef f():\n    return R\n", "case.py", "return 1", "return 2"),
    "an annotation that dispatches": (
        "from functools import singledispatch\n\n@singledispatch\ndef f(x):\n    return 0\n\n@f.register\ndef _(x: int):\n    return 1\n",
        "case.py", "x: int", "x: float",
    ),
    "the other side of a guard": ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    K = 0\nelse:\n    K = 1\n\ndef f():\n    return K\n", "case.py", "K = 1", "K = 2"),
    "a name bound again": ("from shop.rates import RATE\nRATE = RATE\n\ndef f():\n    return RATE\n", "rates.py", "RATE = 1", "RATE = 2"),
    "a file in a folder": ("from pathlib import Path\n\ndef f():\n    return (Path(__file__).parent / 'q' / 'a b.sql').read_text()\n", "q/a b.sql", "1", "2"),
    "a type in a class": ("from shop.helpers import double\nclass A:\n    def g(self): return 1\nclass f:\n    a: A\n", "case.py", "return 1", "return 2"),
    "a schema that a base asks for": (
        "class B:\n    def g(self): return self.output_schema(1)\nclass f(B):\n    def output_schema(self, s): return 1\n",
        "case.py", "s): return 1", "s): return 2",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MISSED_EASILY)
def test_what_is_easily_missed_is_seen(shop: Path, case: str) -> None:
    source, file, old, new = MISSED_EASILY[case]
    (shop / "case.py").write_text(source)
    (shop.parent / "loose").mkdir()
    (shop.parent / "loose" / "mod.py").write_text("def value():\n    return 1\n")
    (shop / "q").mkdir()
    (shop / "q" / "a b.sql").write_text("SELECT 1")
    before = symbols("shop.case.f")
    edit(shop / file, old, new)
    assert symbols("shop.case.f") != before


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
from ml_platform.versions.closure import code_of
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


def test_a_class_of_a_notebook_that_only_transforms_is_found_behind_scikit_learns_wrapper() -> None:
    cell = "from sklearn.base import BaseEstimator, TransformerMixin\nclass W(TransformerMixin, BaseEstimator):\n    def transform(self, X):\n        df = X\n        return df\ndf = object()\n"
    assert "'__main__.W'" in run_python(f"""
import linecache
from ml_platform.versions.closure import code_of
cell = {cell!r}
linecache.cache["<cell 1>"] = (len(cell), None, cell.splitlines(keepends=True), "<cell 1>")
exec(compile(cell, "<cell 1>", "exec"))
print(dict(code_of(["__main__.W"]).symbols))
""")


def test_a_global_without_a_plain_value_cannot_be_told(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="Undescribable"):
        run_as_cell("object()")


def test_codes_are_joined() -> None:
    joined = Code({"a": "1"}, {}, {"x": "1"}) | Code({"b": "2"}, {}, {"y": "2"})
    assert (joined.symbols, joined.distributions) == ({"a": "1", "b": "2"}, {"x": "1", "y": "2"})


def test_a_file_elsewhere_counts_by_its_whole_path(shop: Path, tmp_path: Path) -> None:
    outside = tmp_path / "rates.csv"
    outside.write_text("1")
    edit(shop / "late.py", "'query.sql'", repr(str(outside)))
    before = symbols()[f"shop.late:{outside}"]
    outside.write_text("2")
    assert symbols()[f"shop.late:{outside}"] != before
