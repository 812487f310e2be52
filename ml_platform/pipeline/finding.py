"""Where is the declaration of a pipeline that somebody names?"""

from pathlib import Path

from ml_platform.artifacts.home import project_root
from ml_platform.errors import PlatformError, expected_one_of
from ml_platform.pipeline.document import load_document


def find_pipeline(name: str) -> Path:
    """Gives the YAML of a pipeline: of the project's by its name, of any other by its path.

    Raises:
        PlatformError: no such pipeline, with those that exist.
    """
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    known = declared_pipelines()
    if name not in known:
        raise PlatformError(f"no pipeline {name!r}: {expected_one_of(name, known)}{_hint(name, known)}")
    return known[name]


def _hint(name: str, known: dict[str, Path]) -> str:
    """Says what a folder of that name lacks, if there is one."""
    folder = project_root() / "ml_platform" / "defs" / name
    inside = [pipeline for pipeline, file in known.items() if file.parent == folder]
    if inside:
        return f"; the pipeline in the folder {name!r} is called {inside[0]!r}"
    return f"; the folder {name!r} has no defs.yaml" if folder.is_dir() and not (folder / "defs.yaml").exists() else ""


def declared_pipelines() -> dict[str, Path]:
    """Lists the project's pipelines: name to YAML, as the `defs.yaml` beside each names it."""
    found: dict[str, Path] = {}
    for path in sorted((project_root() / "ml_platform" / "defs").glob("*/defs.yaml")):
        data = load_document(path).data
        if str(data.get("type", "")).endswith("MLPipelineComponent"):
            file = path.parent / (data.get("attributes") or {}).get("file", "pipeline.yaml")
            name = _name_in(file)
            if name in found:
                raise PlatformError(f"{found[name]} and {file} both are the pipeline {name!r}; rename one")
            found[name] = file
    return found


def _name_in(file: Path) -> str:
    """Reads a pipeline's name without reading all of its file, which may have mistakes."""
    lines = file.read_text().splitlines() if file.is_file() else []
    named = next((line for line in lines if line.startswith("pipeline:")), f"pipeline: {file.parent.name}")
    return named.partition(":")[2].strip()
