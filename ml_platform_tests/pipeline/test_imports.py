import importlib
import os
import sys
import time
from pathlib import Path

import pytest

from ml_platform.errors import PlatformError
from ml_platform.pipeline.imports import refuse_changed_modules


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


def test_installed_modules_are_left_alone() -> None:
    refuse_changed_modules(["pandas", "json", "ml_platform.schema"])
