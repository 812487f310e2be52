"""Caches a pipeline's class signatures, obtained from `inspector` in a child process.

Classes are imported in a child process (`python -m ml_platform.pipeline.inspector`), once for each state of the
code and of the installed libraries; the answer is cached, and asked again when a file that it saw has changed.
"""

import hashlib
import importlib.util
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ml_platform.errors import PlatformError
from ml_platform.pipeline.spec import PipelineSpec
from ml_platform.sources import TableSource
from ml_platform.versions.closure import Code, code_of
from ml_platform.versions.platform_versions import CONTRACT, RUNNERS
from ml_platform.versions.source import text_hash

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class SourceFacts:
    """What a pipeline must know of a source."""

    asset: str
    grain: str
    key: list[str]
    schema: Mapping[str, Any]
    partitions: Mapping[str, str] | None  # every, start, end


@dataclass(frozen=True)
class BuiltObject:
    """What an object contributes to the version of what it makes.

    Attributes:
        parameters: its class and all parameters, defaults included; None if they cannot be told.
        depends_on_threads: whether its bytes may depend on the number of threads.
    """

    parameters: Any
    depends_on_threads: bool


@dataclass(frozen=True)
class StepFacts:
    """The signature of one step's transformer, with the schema that it gives."""

    learns: bool
    rows: str | None
    key: list[str] | None  # what identifies a row of its result, if that is not the first input's key
    lookback_seconds: float
    in_time: str | None  # the column by which its own rows are ordered, if a row's answer depends on those before it
    schema: Mapping[str, Any]
    types: list[str]  # of the object and its parts: what may be loaded for this step
    built: BuiltObject


@dataclass(frozen=True)
class ModelFacts:
    """What must be known of a candidate model."""

    types: list[str]
    built: BuiltObject


@dataclass(frozen=True)
class Found:
    """A problem at a place in the pipeline's file."""

    place: list[str | int]
    message: str


@dataclass(frozen=True)
class Inspection:
    """All that was learnt, or the problems that stood in the way.

    Attributes:
        code: of each kind of value, source, step and model by its name (`frame`, `steps.calendar`); None where it
            cannot be told, so that what it makes is never reused.
        files: the project's files that the code lies in, to a hash of their text.
    """

    sources: Mapping[str, SourceFacts] = field(default_factory=dict)
    steps: Mapping[str, StepFacts] = field(default_factory=dict)
    models: Mapping[str, ModelFacts] = field(default_factory=dict)
    code: Mapping[str, Code | None] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    problems: list[Found] = field(default_factory=list)

    @classmethod
    def from_json(cls, text: str) -> "Inspection":
        """Reads what the child process wrote."""
        data = json.loads(text)
        return cls(
            {name: SourceFacts(**facts) for name, facts in data["sources"].items()},
            {name: _with_built(StepFacts, facts) for name, facts in data["steps"].items()},
            {name: _with_built(ModelFacts, facts) for name, facts in data["models"].items()},
            {name: code and Code(**code) for name, code in data["code"].items()},
            data["files"],
            [Found(**problem) for problem in data["problems"]],
        )

    def to_json(self) -> str:
        """Writes what `from_json` reads."""
        return json.dumps(asdict(self))


def _with_built(kind: type, facts: dict[str, Any]) -> Any:
    return kind(**{**facts, "built": BuiltObject(**facts["built"])})


def inspect(spec: PipelineSpec) -> Inspection:
    """Inspects a pipeline's classes in a child process, or takes the cached answer."""
    request = spec.model_dump_json(by_alias=True)
    cached = _cache_folder() / f"{_fingerprint(spec, request)}.json"
    if cached.exists():
        known = Inspection.from_json(cached.read_text())
        # The fingerprint names what the pipeline imports; a class may use files of other packages of the project.
        if all(text_hash(Path(file)) == found for file, found in known.files.items()):
            return known
    answer = _ask_child(request)
    _keep(cached, answer)
    return Inspection.from_json(answer)


def code_of_source(source: Any) -> Code | None:
    """Returns the code of a source whose class is not the platform's own; None of others: a number stands for it."""
    kind = type(source)
    return None if kind is TableSource else code_of([f"{kind.__module__}.{kind.__qualname__}"])


def _ask_child(request: str) -> str:
    # -P: the child finds modules where this process does. The working folder comes last, not first: Dagster's code
    # server takes it off its own path once it has imported the definitions.
    command = [sys.executable, "-P", "-m", "ml_platform.pipeline.inspector"]
    path = os.pathsep.join([*(entry or os.getcwd() for entry in sys.path), os.getcwd()])
    environment = {**os.environ, "PYTHONPATH": path}
    child = subprocess.run(  # noqa: S603  (our own module, under our own interpreter)
        command, input=request, capture_output=True, text=True, env=environment, check=False
    )
    if child.returncode != 0:
        raise PlatformError(f"the pipeline's classes could not be inspected:\n{child.stderr}")
    return child.stdout.splitlines()[-1]  # what it imports may print before


def _keep(path: Path, answer: str) -> None:
    # Written beside and renamed: processes that load at the same time read a whole answer or none.
    beside = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(answer)
        beside.rename(path)
    except OSError as error:
        _LOG.warning("%s: the inspection is not cached, so each load takes seconds longer (%s)", path, error)


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ml_platform" / "inspections"


def _fingerprint(spec: PipelineSpec, request: str) -> str:
    """Names the state of everything that the answer depends on."""
    # A cached answer holds the files of one installation, and numbers that are in none of them.
    parts = [request, sys.version, __file__, repr((RUNNERS, CONTRACT)), *_installed()]
    for package in sorted({path.split(".")[0] for path in _import_paths(spec)} | {"ml_platform"}):
        parts += _source_of(package)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _import_paths(spec: PipelineSpec) -> Iterator[str]:
    yield from spec.sources.values()
    for use in (*spec.steps.values(), *spec.models.values()):
        yield use.uses
        yield from _nested_uses(use.with_)


def _nested_uses(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (str(item) for key, item in value.items() if key == "uses")
        yield from (path for item in value.values() for path in _nested_uses(item))
    if isinstance(value, list):
        yield from (path for item in value for path in _nested_uses(item))


def _installed() -> list[str]:
    """Lists the installed distributions with their versions, from the names of their folders."""
    # importlib.metadata would read each of them: a tenth of a second at every load.
    folders = [Path(entry) for entry in sys.path if entry.endswith("site-packages")]
    return sorted(path.name for folder in folders if folder.is_dir() for path in folder.glob("*.dist-info"))


def _source_of(package: str) -> list[str]:
    """Returns the source of a package that is not an installed one: its version says nothing."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None or "site-packages" in spec.origin:
        return []
    origin = Path(spec.origin)
    files = sorted(origin.parent.rglob("*.py")) if origin.name == "__init__.py" else [origin]
    return [f"{path}\n{path.read_text()}" for path in files]
