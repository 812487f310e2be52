"""Finds the YAML of a pipeline by its name or path."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ml_platform.errors import NoProject, PlatformError, expected_one_of
from ml_platform.project import Project, find_project


def find_pipeline(name: str, beside: Path | None = None) -> Path:
    """Returns the YAML of a pipeline: of the project's by its name, of any other by its path.

    Its project can be imported afterwards, installed or not.

    Args:
        beside: a file whose project is meant, if it is in one; by default that of the working folder.

    Raises:
        PlatformError: no such pipeline, with those that exist, or no project to look in.
    """
    is_file = name.endswith((".yaml", ".yml"))
    project = _project_of(Path(name) if is_file else beside)
    if project is not None:
        project.put_on_path()
    if is_file:
        return Path(name)
    project = project or find_project()
    known = declared_pipelines(project)
    if name not in known:
        raise PlatformError(f"no pipeline {name!r}: {expected_one_of(name, known)}{_hint(project, name, known)}")
    return known[name]


def _project_of(place: Path | None) -> Project | None:
    """Returns the project that a file is in, else that of the working folder, if there is one."""
    for start in (place, None):
        try:
            return find_project(start)
        except NoProject:
            continue
    return None


def _hint(project: Project, name: str, known: dict[str, Path]) -> str:
    """Explains what a folder of that name lacks, if there is one."""
    folder = project.defs / name
    inside = [pipeline for pipeline, file in known.items() if file.parent == folder]
    if inside:
        return f"; the pipeline in the folder {name!r} is called {inside[0]!r}"
    return f"; the folder {name!r} has no defs.yaml" if folder.is_dir() and not (folder / "defs.yaml").exists() else ""


def declared_pipelines(project: Project | None = None) -> dict[str, Path]:
    """Lists a project's pipelines: name to YAML, as the `defs.yaml` beside each names it."""
    found: dict[str, Path] = {}
    for path in sorted((project or find_project()).defs.rglob("defs.yaml")):
        for attributes in _pipelines_in(path):
            file = path.parent / attributes.get("file", "pipeline.yaml")
            name = _name_in(file)
            if name in found:
                raise PlatformError(f"{found[name]} and {file} both are the pipeline {name!r}; rename one")
            found[name] = file
    return found


def _pipelines_in(path: Path) -> Iterator[dict[str, Any]]:
    """Lists the attributes of each pipeline that a `defs.yaml` declares; other components are left alone."""
    # Parsed only if it may be one of ours: a project has other components, some with Jinja that is no YAML.
    text = path.read_text(encoding="utf-8")
    if "MLPipelineComponent" not in text:
        return
    try:
        for document in yaml.safe_load_all(text):
            if str((document or {}).get("type", "")).endswith("MLPipelineComponent"):
                yield document.get("attributes") or {}
    except (yaml.YAMLError, AttributeError) as error:
        raise PlatformError(f"{path}: not the YAML of a component: {error}") from error


def _name_in(file: Path) -> str:
    """Reads a pipeline's name without reading all of its file, which may have mistakes."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    named = next((line for line in lines if line.startswith("pipeline:")), f"pipeline: {file.parent.name}")
    try:
        return str(yaml.safe_load(named)["pipeline"] or "")  # with quotes and comments as YAML has them
    except (yaml.YAMLError, TypeError):
        return named.partition(":")[2].strip()
