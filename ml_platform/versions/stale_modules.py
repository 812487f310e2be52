"""Refuses to compute with modules that differ from the code that a cache key was made of.

A notebook's process lives for days. A cache key names code as it lay on disk when the pipeline was loaded; computing
with a module that was imported before an edit, or reloaded after one, would put a wrong value under it.
"""

import importlib.abc
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil

from ml_platform.errors import PlatformError
from ml_platform.versions.source import project_file, read_module, text_hash


class _Imports(importlib.abc.MetaPathFinder):
    """Finds nothing; notes the text of each module of the project as it is imported or reloaded, and the order."""

    def __init__(self) -> None:
        self.texts: dict[str, str | None] = {}
        self.order: dict[str, int] = {}
        self.reloads: dict[str, int] = {}
        self._clock = count()
        self._looking = False
        started = psutil.Process().create_time() + 1  # the kernel counts from a second, rounded down
        # What was imported before this began is taken to be as it is on disk, unless the file is younger than the
        # process.
        for name, module in list(sys.modules.items()):
            self._note(name)
            path = project_file(name)
            # A module that is being imported right now was read a moment ago.
            is_beginning = getattr(getattr(module, "__spec__", None), "_initializing", False)
            if path is not None and path.stat().st_mtime > started and not is_beginning:
                self.texts[name] = None  # imported before or after that edit: nobody looked

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> None:
        if self._looking:
            return  # looking for the file asks all finders, this one too
        self._looking = True
        try:
            self._note(fullname)
        finally:
            self._looking = False

    def _note(self, name: str) -> None:
        path = project_file(name)
        if path is None:
            return
        now = next(self._clock)
        # importlib.reload asks the finders while the module is in sys.modules; a first import asks before.
        if name in self.texts and name in sys.modules:
            self.reloads[name] = now
        self.texts[name], self.order[name] = text_hash(path), now


@cache
def watch_imports() -> _Imports:
    """Records from now on which modules are imported, by a finder in `sys.meta_path`; returns the record."""
    noted = _Imports()
    # In front, as a finder behind the one that finds the module is never asked.
    sys.meta_path.insert(0, noted)
    return noted


def refuse_changed_modules(modules: Iterable[str], files: Mapping[str, str] | None = None) -> None:
    """Refuses to compute with other code than a cache key names.

    Args:
        modules: those that the code is in.
        files: path to hash of the text that the cache key was made from; by default the text that is there now.

    Raises:
        PlatformError: names the file and what to do.
    """
    noted = watch_imports()
    for module in modules:
        path = project_file(module) if module in sys.modules else None
        if path is None:
            continue
        imported, now = noted.texts.get(module), text_hash(path)
        if imported != now:
            raise PlatformError(
                f"{path} was changed after this process imported it, so it would compute with the former code; "
                f"restart the process, or importlib.reload({module}) and whatever imports names from it"
            )
        if (files or {}).get(str(path), now) != now:
            raise PlatformError(f"{path} was changed after the pipeline was loaded; load the pipeline again")
        _refuse_older_importer(module, path)


def _refuse_older_importer(module: str, path: Path) -> None:
    """Refuses a module that imported names from another before that one was reloaded."""
    noted, parsed = watch_imports(), read_module(module, path, path.stat().st_mtime_ns)
    for source in {part for paths in parsed.imports.values() for part in paths}:
        for name in (source, source.rpartition(".")[0]):
            if noted.reloads.get(name, -1) > noted.order.get(module, 0):
                raise PlatformError(
                    f"{path} imported names from {name} before that was reloaded, and holds the former ones; "
                    f"importlib.reload({module}) too, or restart the process"
                )
