import importlib
import os
import sys
import time
from pathlib import Path

import pytest

from ml_platform.errors import PlatformError
from ml_platform.versions.stale_modules import refuse_changed_modules, watch_imports
from ml_platform_tests.conftest import run_python


@pytest.fixture(autouse=True)
def _watched() -> None:
    watch_imports()


def touch(path: Path) -> None:
    now = time.time_ns() + 1_000_000
    os.utime(path, ns=(now, now))


def test_a_module_that_was_edited_after_it_was_imported_is_refused_until_it_is_reloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "edited_later.py"
    path.write_text("VALUE = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    refuse_changed_modules(["edited_later"])
    module = importlib.import_module("edited_later")
    refuse_changed_modules(["edited_later"])
    path.write_text("VALUE = 2\n")
    touch(path)
    with pytest.raises(PlatformError, match=r"edited_later\.py was changed after .*importlib\.reload\(edited_later\)"):
        refuse_changed_modules(["edited_later"])
    time.sleep(0.01)
    importlib.reload(module)
    refuse_changed_modules(["edited_later"])
    del sys.modules["edited_later"]


def test_an_older_time_of_change_hides_no_edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "copied_later.py"
    path.write_text("VALUE = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("copied_later")
    path.write_text("VALUE = 2\n")
    os.utime(path, (1, 1))
    with pytest.raises(PlatformError, match=r"copied_later\.py was changed after"):
        refuse_changed_modules(["copied_later"])
    del sys.modules["copied_later"]


def test_code_that_was_reloaded_after_the_pipeline_was_loaded_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "loaded_before.py"
    path.write_text("VALUE = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("loaded_before")
    with pytest.raises(PlatformError, match="was changed after the pipeline was loaded; load the pipeline again"):
        refuse_changed_modules(["loaded_before"], {str(path): "the hash of another text"})
    del sys.modules["loaded_before"]


def test_who_took_names_from_a_module_before_it_was_reloaded_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lender.py").write_text("def value():\n    return 1\n")
    (tmp_path / "borrower.py").write_text("from lender import value\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    borrower = importlib.import_module("borrower")
    (tmp_path / "lender.py").write_text("def value():\n    return 22\n")
    importlib.reload(sys.modules["lender"])
    refuse_changed_modules(["lender"])
    with pytest.raises(PlatformError, match=r"borrower\.py imported names from lender before that was reloaded"):
        refuse_changed_modules(["borrower"])
    importlib.reload(borrower)
    refuse_changed_modules(["borrower", "lender"])
    del sys.modules["borrower"], sys.modules["lender"]


def test_installed_modules_are_left_alone() -> None:
    refuse_changed_modules(["pandas", "json", "ml_platform.schema"])


def test_what_was_edited_before_anybody_watched_is_refused_until_it_is_reloaded(tmp_path: Path) -> None:
    """It was imported before or after the edit: nobody knows."""
    (tmp_path / "early.py").write_text("VALUE = 1\n")
    code = f"""
import importlib, sys
sys.path.insert(0, {str(tmp_path)!r})
import os, time, early
now = time.time() + 5
os.utime(early.__file__, (now, now))
from ml_platform.versions.stale_modules import refuse_changed_modules, watch_imports
from ml_platform_tests.conftest import run_python
try:
    refuse_changed_modules(["early"])
except Exception as error:
    print(error)
importlib.reload(early)
refuse_changed_modules(["early"])
"""
    assert "early.py was changed after this process imported it" in run_python(code)


def test_who_has_no_step_and_no_pipeline_gets_no_import_hook() -> None:
    code = "import {}; import sys; print(*(type(one).__module__ for one in sys.meta_path))"
    for nothing_yet in ("ml_platform", "ml_platform.launchers", "ml_platform.components, ml_platform.sources"):
        assert "ml_platform" not in run_python(code.format(nothing_yet))
    for name in ("Pipeline", "DataTransformer"):
        watched = run_python(code.replace("import {}", "from ml_platform import {}").format(name))
        assert "ml_platform.versions.stale_modules" in watched


def test_a_module_that_was_edited_before_it_was_imported_is_none_to_refuse(tmp_path: Path) -> None:
    """As one that `ml-platform lift` has just written, and one that asks for what begins to watch."""
    (tmp_path / "lifted.py").write_text("VALUE = 1\n")
    (tmp_path / "step.py").write_text("from ml_platform import DataTransformer\n")
    code = f"""
import os, sys, time
sys.path.insert(0, {str(tmp_path)!r})
for name in ("lifted", "step"):
    os.utime(os.path.join({str(tmp_path)!r}, name + ".py"), (time.time() + 5,) * 2)
import step
import lifted
from ml_platform.versions.stale_modules import refuse_changed_modules
refuse_changed_modules(["lifted", "step"])
print("fine")
"""
    assert run_python(code) == "fine"
