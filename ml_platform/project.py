"""Finds the Dagster project that a command or a notebook works in, by its `pyproject.toml`."""

import importlib.util
import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_platform.errors import NoProject, PlatformError, expected_one_of

# What a local instance begins with: the `dagster.yaml` of every new DAGSTER_HOME.
LOCAL_INSTANCE = Path(__file__).parent / "resources" / "dagster.yaml"

_KEYS = ("root_module", "defs_module", "code_location_target_module")


@dataclass(frozen=True)
class Project:
    """A folder with a `pyproject.toml` that says which package holds the definitions.

    Attributes:
        root: the folder.
        module: the dotted name of the project's package.
        defs_module: the package that Dagster loads components and assets from.
        definitions_module: the module with the project's `Definitions`.
    """

    root: Path
    module: str
    defs_module: str
    definitions_module: str

    @property
    def sources_root(self) -> Path:
        """The folder that the package is imported from: the project's own, or `src` in it."""
        parts = self.module.split(".")
        places = [place for place in (self.root, self.root / "src") if place.joinpath(*parts).is_dir()]
        if places:
            return places[0]
        spec = importlib.util.find_spec(parts[0])  # an installed project: its folder has the package's name
        if spec is None or not spec.submodule_search_locations:
            raise PlatformError(
                f"{self.root / 'pyproject.toml'}: root_module is {self.module!r}, found no such package in {self.root} "
                f"nor in {self.root / 'src'}; correct the name, or install the project: pip install -e ."
            )
        return Path(spec.submodule_search_locations[0]).parent

    @property
    def defs(self) -> Path:
        """The folder that Dagster loads components and assets from."""
        return self.sources_root.joinpath(*self.defs_module.split("."))

    @property
    def transformers_module(self) -> str:
        """The package that the project keeps transformers of its own in."""
        return f"{self.module}.transformers"

    def put_on_path(self) -> None:
        """Lets this process and those that it starts import the project, where it is not installed."""
        place = str(self.sources_root)
        if place in sys.path:
            return
        spec = importlib.util.find_spec(self.module.partition(".")[0])
        if spec is not None and place in (str(Path(found).parent) for found in spec.submodule_search_locations or ()):
            return
        sys.path.insert(0, place)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [place, os.environ.get("PYTHONPATH", "")]))


def find_project(start: Path | None = None) -> Project:
    """Finds the project that a folder or file is in, the nearest one upwards.

    Args:
        start: where to begin; by default the working folder.

    Raises:
        NoProject: there is none.
        PlatformError: its `pyproject.toml` does not say which package it is.
    """
    start = (start or Path.cwd()).absolute()
    for folder in (start, *start.parents):
        project = _project_in(folder / "pyproject.toml")
        if project is not None:
            return project
    raise NoProject(
        f"no project in {start} nor above it: expected a pyproject.toml with [tool.dg.project] or [tool.ml_platform]; "
        "go to your project's folder, or make one: ml-platform new project NAME"
    )


def _project_in(path: Path) -> Project | None:
    """Reads a project's settings; those of `[tool.ml_platform]` go before Dagster's own."""
    if not path.is_file():
        return None
    try:
        tools = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PlatformError(f"{path}: not TOML: {error}") from error
    ours, dg = tools.get("ml_platform"), tools.get("dg")
    dagsters = dg.get("project") if isinstance(dg, dict) else None
    if ours is None and dagsters is None:
        return None
    for name, table in (("ml_platform", ours), ("dg.project", dagsters)):
        if not isinstance(table, dict | None):
            raise PlatformError(f"{path}: [tool.{name}] is {table!r}; expected a table of settings")
    _require_known(path, ours or {})
    return _project_of(path, {**(dagsters or {}), **(ours or {})})


def _require_known(path: Path, ours: Mapping[str, Any]) -> None:
    for key in ours:
        if key not in _KEYS:
            raise PlatformError(f"{path}: [tool.ml_platform]: unknown key {key!r}: {expected_one_of(key, _KEYS)}")


def _project_of(path: Path, settings: Mapping[str, Any]) -> Project:
    for key in _KEYS:
        if not isinstance(settings.get(key, ""), str):
            raise PlatformError(f"{path}: {key} is {settings[key]!r}; expected a module's dotted name")
    module = settings.get("root_module")
    if not module:
        raise PlatformError(f"{path}: root_module is {module!r}; expected the name of the project's package")
    return Project(
        path.parent,
        module,
        settings.get("defs_module") or f"{module}.defs",
        settings.get("code_location_target_module") or f"{module}.definitions",
    )
