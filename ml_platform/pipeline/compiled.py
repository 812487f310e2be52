"""Compiles a pipeline: its declaration put together with its classes' signatures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from ml_platform.errors import SpecError
from ml_platform.pipeline.document import Document
from ml_platform.pipeline.signatures import Inspection, inspect
from ml_platform.pipeline.spec import Model, PipelineSpec, Step, in_order, load_spec
from ml_platform.schema import Schema
from ml_platform.sources import Partitions, Source
from ml_platform.splits.registry import METHODS
from ml_platform.versions.stale_modules import watch_imports


@dataclass(frozen=True)
class CompiledSource:
    """A source as a pipeline sees it."""

    name: str
    asset: str
    grain: str
    key: Sequence[str]
    schema: Schema
    spans: Partitions | None


@dataclass(frozen=True)
class CompiledStep:
    """A step with everything resolved that running it needs.

    Attributes:
        spans: the partitions of its frames, None if it has one frame.
        columns: what a plain scikit-learn transformer gets.
        types: the classes that its fitted state is made of.
        in_time: the column that orders its own rows, if a row's answer depends on those before it.
        is_plain: whether the transformer is scikit-learn's own kind, which declares nothing.
        template: an unfitted transformer that stands in for the declared one.
    """

    name: str
    asset: str
    use: Step
    grain: str
    key: Sequence[str]
    schema: Schema
    spans: Partitions | None
    learns: bool
    lookback: timedelta
    in_time: str | None
    is_plain: bool
    types: Sequence[str]
    template: Any = None

    @property
    def columns(self) -> list[str] | None:
        """The columns that a plain transformer gets."""
        return self.use.columns

    def looks_back_into(self, position: int) -> bool:
        """Whether a partition is made from earlier partitions of an input too, by the input's position."""
        return bool(self.lookback) and (position > 0 or self.in_time is not None)

    @property
    def side_inputs(self) -> list[str]:
        """The names of the inputs beside the first."""
        return self.use.inputs[1:]

    @property
    def fitted_asset(self) -> str:
        """The asset that holds what the step learnt."""
        return f"{self.asset}_fitted"

    def build(self) -> Any:
        """Builds the transformer, unfitted."""
        return build_use(self.use, self.template)


@dataclass(frozen=True)
class CompiledPipeline:
    """A pipeline that can run.

    Attributes:
        objects: transformers and models that stand in for declared ones, by step or model.
        rows: about how many rows of each partitioned source to take, evenly spaced; None: all of them.
    """

    spec: PipelineSpec
    sources: Mapping[str, CompiledSource]
    steps: Mapping[str, CompiledStep]
    inspection: Inspection
    objects: Mapping[str, Any] = field(default_factory=dict)
    rows: int | None = None

    @property
    def features(self) -> CompiledStep:
        """The step that gives the models' inputs."""
        return self.steps[self.spec.features.step]

    def build_model(self, name: str) -> Any:
        """Builds a candidate model, unfitted."""
        return build_use(self.spec.models[name], self.objects.get(name))

    def table(self, name: str) -> Source:
        """Returns the table that a source reads."""
        from ml_platform.contract.construction import resolve

        # Imported when it is read: loading definitions needs what the inspection knows of a source, not the source.
        table: Any = resolve(self.spec.sources[name])
        read: Source = replace(table, rows=self.rows) if self.rows and table.partitions else table
        return read

    def asset_of(self, name: str) -> str:
        """Returns the asset of a source or step."""
        return self.sources[name].asset if name in self.sources else self.steps[name].asset

    def spans_of(self, name: str) -> Partitions | None:
        """Returns the partitions of a source or step."""
        return self.sources[name].spans if name in self.sources else self.steps[name].spans


def build_use(use: Step | Model, template: Any = None) -> Any:
    """Builds the object that a step or model names; an unfitted copy of the template where there is one."""
    from ml_platform.contract.construction import build

    if template is None:
        return build(use.uses, use.with_)
    from sklearn.base import clone

    return clone(template)


def load_pipeline(path: Path | str) -> CompiledPipeline:
    """Reads, checks and compiles a pipeline's YAML; imports none of its classes.

    Raises:
        SpecError: every problem found, each with file and line.
    """
    spec = load_spec(Path(path))
    return compile_spec(spec, inspect(spec))


def compile_spec(
    spec: PipelineSpec, inspection: Inspection, objects: Mapping[str, Any] | None = None
) -> CompiledPipeline:
    """Combines a declaration and what was learnt of its classes.

    Args:
        objects: what the inspection took in place of declared transformers and models.

    Raises:
        SpecError: every problem found, each with file and line.
    """
    watch_imports()  # from here on this process may compute: edits of modules that it imports count
    document = spec.document
    problems = [document.problem(tuple(found.place), found.message) for found in inspection.problems]
    if not problems:
        problems = _split_problems(spec, inspection, document)
    if problems:
        raise SpecError(problems)
    return _compile(spec, inspection, objects or {})


def _split_problems(spec: PipelineSpec, inspection: Inspection, document: Document) -> list[Any]:
    partitions = {name: source.partitions for name, source in inspection.sources.items() if source.partitions}
    is_partitioned = spec.partitions != "none" and bool(partitions)
    if spec.split.needs_partitions and not is_partitioned:
        others = " or ".join(name for name, kind in METHODS.items() if not kind.needs_partitions)
        told = f"a split by {spec.split.method} needs partitions; expected the method {others}"
        return [document.problem(("split",), told)]
    key = _compile(spec, inspection, {}).features.key
    problems = [document.problem(("split", *place), told) for place, told in spec.split.problems(key)]
    return problems or (_unequal_partitions(partitions, document) if is_partitioned else [])


def _unequal_partitions(partitions: Mapping[str, Any], document: Document) -> list[Any]:
    first = next(iter(partitions))
    return [
        document.problem(
            ("sources", name), f"source {name!r} is cut {spans}, {first!r} {partitions[first]}; expected equal cuts"
        )
        for name, spans in partitions.items()
        if spans != partitions[first]
    ]


def _compile(spec: PipelineSpec, inspection: Inspection, objects: Mapping[str, Any]) -> CompiledPipeline:
    sources = {
        name: CompiledSource(
            name,
            facts.asset,
            facts.grain,
            facts.key,
            Schema.from_json(facts.schema),
            _spans(facts.partitions),
        )
        for name, facts in inspection.sources.items()
    }
    shared = next((source.spans for source in sources.values() if source.spans), None)
    spans = None if spec.partitions == "none" else shared
    known: dict[str, CompiledSource | CompiledStep] = dict(sources)
    for name in in_order(spec):
        known[name] = replace(_compile_step(spec, inspection, known, name, spans), template=objects.get(name))
    steps = {name: part for name, part in known.items() if isinstance(part, CompiledStep)}
    return CompiledPipeline(spec, sources, steps, inspection, objects)


def _compile_step(
    spec: PipelineSpec,
    inspection: Inspection,
    known: Mapping[str, CompiledSource | CompiledStep],
    name: str,
    spans: Partitions | None,
) -> CompiledStep:
    step, facts = spec.steps[name], inspection.steps[name]
    inputs = [known[source] for source in step.inputs]
    return CompiledStep(
        name=name,
        asset=spec.asset(name),
        use=step,
        grain=step.grain or inputs[0].grain,
        key=step.key or facts.key or inputs[0].key,
        schema=Schema.from_json(facts.schema),
        spans=spans if any(part.spans for part in inputs) else None,
        learns=facts.learns,
        lookback=timedelta(seconds=facts.lookback_seconds),
        in_time=facts.in_time,
        is_plain=facts.rows is None,
        types=facts.types,
    )


def _spans(declared: Mapping[str, str] | None) -> Partitions | None:
    if declared is None:
        return None
    return Partitions(declared["every"], date.fromisoformat(declared["start"]), date.fromisoformat(declared["end"]))
