"""Writes the files of a new project: a Dagster project in which every command of the platform works."""

import importlib.util
import keyword
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from ml_platform.errors import PlatformError
from ml_platform.scaffolding.templates import render


def new_project(name: str, place: Path) -> Path:
    """Writes a project into a new folder.

    Args:
        name: the folder's; the package is called the same, with `_` for `-`.
        place: the folder that it is made in.

    Raises:
        PlatformError: a name that no package can have or that one has, or a folder that is not empty.
    """
    package = name.replace("-", "_")
    _require_free(name, package)
    root = place / name
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise PlatformError(f"{root} is there already; choose another name, or remove it")
    was_there = root.exists()
    try:
        for target, text in _files(name, package).items():
            (root / target).parent.mkdir(parents=True, exist_ok=True)
            (root / target).write_text(text, encoding="utf-8")
    # Also on Ctrl-C: half a project would be in the way of the next try.
    except BaseException:
        shutil.rmtree(root, ignore_errors=True)
        if was_there:
            root.mkdir()  # it was empty
        raise
    return root


def _require_free(name: str, package: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*", name) or keyword.iskeyword(package):
        raise PlatformError(f"{name!r} is not a project's name: expected such as shop or flight-delays")
    # find_spec sees what is installed here; names of Python's own modules win over any project.
    if package in sys.stdlib_module_names or importlib.util.find_spec(package) is not None:
        raise PlatformError(f"a package {package!r} is installed, and would be imported instead; choose another name")


def _files(name: str, package: str) -> Mapping[str, str]:
    words = {"name": name, "package": package}
    templates = {
        "pyproject.toml": "pyproject.toml",
        "Makefile": "Makefile",
        "README.md": "README.md",
        ".gitignore": "gitignore",
        f"{package}/definitions.py": "definitions.py",
        f"{package}/defs/resources.py": "resources.py",
        "tests/test_definitions.py": "test_definitions.py",
    }
    empty = {
        f"{package}/__init__.py": f'"""Pipelines of {name}."""\n',
        f"{package}/defs/__init__.py": '"""What exists."""\n',
        f"{package}/transformers/__init__.py": '"""Transformers of our own; `ml-platform lift` puts them here."""\n',
    }
    return {**empty, **{target: render(f"project/{one}.jinja", **words) for target, one in templates.items()}}
