"""Writes the files of a new pipeline: its source, its YAML, and the component that Dagster loads."""

import json
import keyword
import re
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from ml_platform.errors import PlatformError
from ml_platform.pipeline import load_pipeline
from ml_platform.pipeline.discovery import declared_pipelines
from ml_platform.pipeline.spec import RESERVED
from ml_platform.project import Project
from ml_platform.scaffolding.draft import Draft, draft_pipeline
from ml_platform.scaffolding.profile import profile_table
from ml_platform.scaffolding.templates import render
from ml_platform.schema import quoted_name

FILES = ("defs.yaml", "sources.py", "pipeline.yaml")
# Names of parts that every drafted pipeline has.
_YAML_WORDS = {"yes", "no", "on", "off", "true", "false", "null", "y", "n"}
_TAKEN = {*RESERVED, "labelled", "calendar", "codes", "linear", "boosted", "sources"}


def new_pipeline(
    project: Project, folder: Path, data: Path, target: str, time: str | None = None, *, with_component: bool = True
) -> Draft:
    """Writes a pipeline over a CSV file into a folder of the project's `defs`, and checks that it loads.

    Args:
        folder: where to; its name is the pipeline's.
        with_component: whether to write the `defs.yaml`, too.

    Raises:
        PlatformError: a name that cannot be one, a pipeline that is there, data that nothing can be made of; then the
            folder is as it was.
    """
    _require_name(project, folder)
    draft = draft_pipeline(folder.name, profile_table(data), target, time)
    files = [name for name in FILES if with_component or name != "defs.yaml"]
    words = _words(project, folder, draft)
    written: list[Path] = []
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for name in files:
            _write(folder / name, render(f"{name}.jinja", **words), written)
        project.put_on_path()
        # Loaded once as a user would: a draft that does not load is a fault of the template, and is taken back.
        load_pipeline(folder / "pipeline.yaml")
    # Also on Ctrl-C: only what was written here is removed, and the folder only if it is new.
    except BaseException:
        for path in written:
            path.unlink()
        if is_new:
            shutil.rmtree(folder)
        raise
    return draft


def _write(path: Path, text: str, written: list[Path]) -> None:
    """Writes a file that is not there yet, and appends it to `written`."""
    try:
        # Created exclusively: a file that appeared since the check is somebody's.
        with path.open("x", encoding="utf-8") as file:
            written.append(path)
            file.write(text)
    except FileExistsError as error:
        raise PlatformError(f"{path} is there already; choose another name, or remove it") from error


def _require_name(project: Project, folder: Path) -> None:
    name = folder.name
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or keyword.iskeyword(name) or name in _YAML_WORDS:
        raise PlatformError(f"{name!r} is not a pipeline's name: expected such as returns or late_flights")
    if not folder.resolve().is_relative_to(project.defs.resolve()):
        raise PlatformError(f"{folder}: expected a folder in {project.defs}")
    # A module and a package of one name: Python imports the package, and the module silently goes.
    if folder.with_suffix(".py").exists():
        raise PlatformError(f"{folder.with_suffix('.py')} has the name {name!r} already; choose another name")
    if name in _TAKEN:
        raise PlatformError(f"{name!r} is what a part of each pipeline is called; choose another name")
    known = declared_pipelines(project)
    if name in known:
        raise PlatformError(f"the pipeline {name!r} is there already: {known[name]}; choose another name")


def _words(project: Project, folder: Path, draft: Draft) -> dict[str, Any]:
    """Returns the values that the templates need beside the draft."""
    relative = folder.resolve().relative_to(project.sources_root.resolve())
    return {
        "draft": draft,
        "module": ".".join([*relative.parts, "sources"]),
        "package": project.module.partition(".")[0],
        "constant": draft.name.upper(),
        "folder": _folder_expression(project, folder.resolve(), draft.table.path.resolve().parent),
        "coded": [f"{name}_code" for name in draft.categories],
        "quoted": lambda text: json.dumps(text, ensure_ascii=False),
        "day": lambda day: f"date({day.year}, {day.month}, {day.day})" if isinstance(day, date) else "",
        "yaml": _flow,
        "sql": quoted_name,
    }


def _flow(value: Any) -> str:
    """Returns a value as YAML on one line."""
    # A scalar alone ends with "..." in YAML; the width keeps it from breaking lines.
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("\n...\n").strip()


def _folder_expression(project: Project, folder: Path, data: Path) -> str:
    """Returns Python for the data's folder, relative to the source's file where both are in the project."""
    root = project.root.resolve()
    if not data.is_relative_to(root):
        return f"Path({str(data)!r})"
    up = len(folder.relative_to(root).parts)
    below = "".join(f" / {json.dumps(part, ensure_ascii=False)}" for part in data.relative_to(root).parts)
    return f"Path(__file__).parents[{up}]{below}"
