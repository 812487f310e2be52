"""Is the code in this process the code on disk?

A notebook's process lives for days. A value's address names the code on disk; if a module was edited after it was
imported, computing with the old one would put a wrong value under the new address.
"""

import importlib.abc
import sys
import time
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from ml_platform.errors import PlatformError
from ml_platform.pipeline.modules import project_file


class _ImportTimes(importlib.abc.MetaPathFinder):
    """Finds nothing; notes when each module is first looked for, and when it is reloaded."""

    def __init__(self) -> None:
        self.since = time.time_ns()
        self.times: dict[str, int] = {}

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> None:
        self.times[fullname] = time.time_ns()


_NOTED = _ImportTimes()
sys.meta_path.insert(0, _NOTED)


def refuse_changed_modules(modules: Iterable[str]) -> None:
    """Refuses to compute with modules that were edited after this process imported them.

    Raises:
        PlatformError: names the file and what to do.
    """
    for module in modules:
        path = project_file(module) if module in sys.modules else None
        if path is not None and path.stat().st_mtime_ns > _NOTED.times.get(module, _NOTED.since):
            raise PlatformError(
                f"{path} was changed after this process imported it, so it would compute with the former code; "
                f"restart the process, or importlib.reload({module}) (in a notebook: %autoreload 2)"
            )
