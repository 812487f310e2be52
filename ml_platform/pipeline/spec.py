"""Declares what a pipeline's YAML may say, as pydantic models."""

import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from ml_platform.errors import Place, SpecError, expected_one_of
from ml_platform.pipeline.document import Document
from ml_platform.pipeline.inheritance import load_declaration
from ml_platform.splits.registry import METHODS, AnySplitMethod
from ml_platform.tasks import TASKS

_LOG = logging.getLogger(__name__)

Stage = Literal["filtering", "preprocessing", "features"]

# Assets that every pipeline has, and what their functions call their parameters; nothing else takes these names.
RESERVED = (
    *("selection", "evaluation", "approved", "predictions"),
    *("features", "fitted_state", "context", "store", "split"),
    *("spec", "entry", "until", "as_of", "model", "rows", "replaced", "verbose"),
)

_NAME = re.compile(r"[a-z][a-z0-9_]*")


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a name: expected small letters, digits and _, a letter first")
    return name


def _check_launchers(given: object) -> object:
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) and name for name in names) or not names:
        raise ValueError(f"{given!r} is no launcher: expected a name such as gpu, or a list such as [cpu, highmem]")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"launcher {', '.join(twice)} stands twice in {names}; each is tried once")
    return tuple(names)


Name = Annotated[str, BeforeValidator(_check_name)]
# The launcher that takes a step, and those that it escalates to when memory runs out.
Launchers = Annotated[tuple[str, ...], BeforeValidator(_check_launchers)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True, frozen=True)


class Use(_Strict):
    """A class by its import path, and the parameters it is built with.

    A value in `with` that is itself a mapping with `uses` is built first.
    """

    uses: str
    with_: dict[str, Any] = Field(default_factory=dict, alias="with")


class Step(Use):
    """A named use of a transformer."""

    stage: Stage
    inputs: list[str] = Field(min_length=1)
    description: str = ""
    columns: list[str] | None = Field(
        None, description="The columns that a plain scikit-learn transformer gets; the others pass through."
    )
    suffix: str = Field(
        "", description="Names a plain transformer's results `<column><suffix>` and keeps the columns it got."
    )
    grain: str | None = Field(None, description="What one row is; by default that of the first input.")
    key: list[str] | None = Field(None, description="What identifies a row; by default that of the first input.")
    launcher: Launchers = ("cpu",)
    isolated: bool = Field(False, description="Whether it must not share the run's process.")


class Model(Use):
    """A candidate model: an estimator with `predict_proba`, for regression with `predict`."""

    description: str = ""
    launcher: Launchers = ("cpu",)
    isolated: bool = Field(False, description="Whether it must not share the run's process.")


class Features(_Strict):
    """Where the models' inputs come from."""

    step: str = Field(alias="from")
    columns: list[str] = Field(min_length=1)


class Gate(_Strict):
    """What the best model's metric on the test rows must keep."""

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    why: str = ""

    @model_validator(mode="after")
    def _have_one_bound(self) -> "Gate":
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("expected either at_least or at_most")
        return self


class Evaluation(_Strict):
    """How the report looks at the best model."""

    by: list[str] = Field(default_factory=list, description="Columns to show the metrics by.")
    launcher: Launchers = ("cpu",)


class PipelineSpec(_Strict):
    """A graph of steps, the models trained on it, and the gates that judge the best of them."""

    pipeline: Name
    description: str
    owners: list[str] = Field(default_factory=list)
    extends: str | None = Field(None, description="The pipeline that this one is a variant of.")
    task: Literal["binary", "multiclass", "regression"] = "binary"
    partitions: Literal["sources", "none"] = "sources"
    sources: dict[Name, str] = Field(min_length=1)
    steps: dict[Name, Step] = Field(min_length=1)
    features: Features
    target: str
    split: AnySplitMethod
    models: dict[Name, Model] = Field(min_length=1)
    evaluation: Evaluation = Field(default_factory=Evaluation)
    gates: dict[Name, Gate] = Field(default_factory=dict)
    _document: Document | None = PrivateAttr(None)

    @property
    def document(self) -> Document:
        """Where this was declared, for messages; of one built in Python, only its name."""
        return self._document or Document(f"pipeline {self.pipeline!r}", {}, {})

    def asset(self, name: str) -> str:
        """Returns the asset that a step, a model or another part of this pipeline is."""
        return f"{self.pipeline}/{name}"


def load_spec(path: Path) -> PipelineSpec:
    """Reads a pipeline's YAML and checks what can be checked without importing a class.

    Raises:
        SpecError: every problem found, each with file and line.
    """
    document = load_declaration(path)
    try:
        spec = PipelineSpec.model_validate(document.data)
    except ValidationError as error:
        raise SpecError([document.problem(*_explain(entry, document)) for entry in error.errors()]) from error
    # The graph after the values: names in a declaration with missing keys would all be unknown.
    spec._document = document
    check_graph(spec)
    for name in unused_steps(spec):
        told = f"step {name!r} is used by nothing: no step has it among its inputs, and features are from "
        _LOG.warning("%s", document.problem(("steps", name), f"{told}{spec.features.step!r}"))
    return spec


def check_graph(spec: PipelineSpec) -> None:
    """Refuses names that clash, inputs that do not exist, and cycles.

    Raises:
        SpecError: every problem found, each at its place.
    """
    problems = [spec.document.problem(place, message) for place, message in graph_problems(spec)]
    if problems:
        raise SpecError(problems)


def _explain(error: Any, document: Document) -> tuple[Place, str]:
    """Turns one pydantic error into a place in the file and a sentence."""
    # Below `split`, pydantic puts the method into the place, where the file has none.
    place = tuple(
        part
        for index, part in enumerate(error["loc"])
        if part != "[key]" and (index != 1 or error["loc"][0] != "split")
    )
    name = ".".join(map(str, place))
    if error["type"] == "extra_forbidden":
        known = _known_keys(error["loc"][:-1])
        return place, f"unknown key {name!r}: {expected_one_of(str(place[-1]), known)}"
    if error["type"] == "union_tag_invalid":
        return (*place, "method"), f"split: no method {error['ctx']['tag']!r}: {expected_one_of('', METHODS)}"
    if error["type"] == "missing":
        return place, f"{name!r} is missing"
    found = "" if isinstance(error["input"], dict) else f", found {error['input']!r}"
    return place, f"{name}: {error['msg'].removeprefix('Value error, ')}{found}"


def _known_keys(place: Place) -> list[str]:
    """Lists the keys that the model at this place has."""
    models: dict[str, type[BaseModel]] = {
        "steps": Step, "models": Model, "gates": Gate, "features": Features, "evaluation": Evaluation,
    }  # fmt: skip
    if place[:1] == ("split",):
        return list(METHODS[str(place[1])].model_fields)
    named = [models[str(part)] for part in place if str(part) in models]
    fields = (named[-1] if named else PipelineSpec).model_fields
    return [field.alias or name for name, field in fields.items()]


def graph_problems(spec: PipelineSpec) -> Iterator[tuple[Place, str]]:
    """Finds names that clash, inputs that do not exist, and cycles."""
    yield from _clashing_names(spec)
    for name, step in spec.steps.items():
        for index, source in enumerate(step.inputs):
            if source not in spec.sources and source not in spec.steps:
                hint = expected_one_of(source, [*spec.sources, *spec.steps])
                yield ("steps", name, "inputs", index), f"step {name!r}: no input {source!r}: {hint}"
    for index, column in enumerate(spec.features.columns):
        if column in spec.features.columns[:index]:
            yield ("features", "columns", index), f"features: column {column!r} stands twice; name it once"
    if spec.features.step not in spec.steps:
        hint = expected_one_of(spec.features.step, spec.steps)
        yield ("features", "from"), f"features: no step {spec.features.step!r}: {hint}"
    for name, gate in spec.gates.items():
        known = TASKS[spec.task].all_metrics
        if gate.metric not in known:
            hint = expected_one_of(gate.metric, known)
            yield ("gates", name, "metric"), f"gate {name!r}: {spec.task} has no metric {gate.metric!r}: {hint}"
    cycle = find_cycle(spec)
    if cycle:
        yield ("steps", cycle[0]), f"the steps form a cycle: {' -> '.join(cycle)}; expected a graph without one"


def _clashing_names(spec: PipelineSpec) -> Iterator[tuple[Place, str]]:
    taken = dict.fromkeys(RESERVED, "a part of every pipeline")
    taken |= dict.fromkeys((f"{name}_fitted" for name in spec.steps), "what a step learnt")
    for section, kind in (("sources", "source"), ("steps", "step"), ("models", "model")):
        names: Iterable[str] = getattr(spec, section)
        for name in names:
            if name in taken:
                yield (section, name), f"{kind} {name!r} has the name of {taken[name]}"
        taken |= dict.fromkeys(names, f"a {kind}")


def unused_steps(spec: PipelineSpec) -> list[str]:
    """Lists the steps whose result reaches no model: made for people's eyes, or forgotten on the way."""
    used = {spec.features.step, *(source for step in spec.steps.values() for source in step.inputs)}
    return [name for name in spec.steps if name not in used]


def find_cycle(spec: PipelineSpec) -> list[str]:
    """Returns the steps of one cycle, the first again at the end; empty if there is none."""
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done or name not in spec.steps:
            return []
        found = next(filter(None, (walk(source, [*path, name]) for source in spec.steps[name].inputs)), [])
        done.add(name)
        return found

    return next(filter(None, (walk(name, []) for name in spec.steps)), [])


def in_order(spec: PipelineSpec) -> list[str]:
    """Lists the steps so that each comes after its inputs."""
    ordered: dict[str, None] = {}

    def visit(name: str) -> None:
        if name in spec.steps and name not in ordered:
            for source in spec.steps[name].inputs:
                visit(source)
            ordered[name] = None

    for name in spec.steps:
        visit(name)
    return list(ordered)
