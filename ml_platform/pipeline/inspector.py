"""Imports and checks a pipeline's classes, parameters and columns, in the child that `signatures` starts."""

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ml_platform.artifacts.networks import is_network, refuse_nested
from ml_platform.artifacts.objects import own_classes, own_types
from ml_platform.contract.application import learns, takes_side_inputs
from ml_platform.contract.battery.checks.declarations import declaration_problems
from ml_platform.contract.construction import BuildError, build, resolve
from ml_platform.errors import ArtifactError, DataError, Place, expected_one_of
from ml_platform.pipeline.signatures import (
    BuiltObject,
    Found,
    Inspection,
    ModelFacts,
    SourceFacts,
    StepFacts,
    code_of_source,
)
from ml_platform.pipeline.spec import PipelineSpec, Step, Use, in_order
from ml_platform.schema import Column, Schema
from ml_platform.sources import require_source
from ml_platform.tasks import TASKS, metric_paths
from ml_platform.versions.closure import Code, code_of, runner_code
from ml_platform.versions.description import Undescribable, describe, paths_in
from ml_platform.versions.platform_versions import RUNNERS
from ml_platform.versions.source import text_hash

_LOG = logging.getLogger(__name__)


class _Checker:
    """Walks a pipeline in order, collecting facts and problems.

    Args:
        objects: transformers and models to take in place of what the spec names, by step or model.
    """

    def __init__(self, spec: PipelineSpec, objects: Mapping[str, Any]):
        self.spec = spec
        self.objects = objects
        self.sources: dict[str, SourceFacts] = {}
        self.steps: dict[str, StepFacts] = {}
        self.models: dict[str, ModelFacts] = {}
        self.code: dict[str, Code | None] = {kind: runner_code(kind) for kind in RUNNERS}
        self.code["evaluation"] = runner_code("evaluation") | code_of(metric_paths(spec.task))
        self.problems: list[Found] = []
        self.schemas: dict[str, Schema] = {}

    @contextmanager
    def at(self, *place: str | int) -> Iterator[None]:
        """Turns a refusal into a problem at this place."""
        try:
            yield
        except BuildError as error:
            self.note((*place, *error.place), f"{place[-1]!r}: {error}")
        except (DataError, ArtifactError) as error:
            self.note(place, str(error))

    def note(self, place: Place, message: str) -> None:
        self.problems.append(Found(list(place), message))

    def check_source(self, name: str, path: str) -> None:
        with self.at("sources", name):
            source = resolve(path)
            require_source(source, f"source {name!r}: {path}")
            if (own := code_of_source(source)) is not None:
                self.code[f"sources.{name}"] = own
            spans = source.partitions
            dates = spans and {"every": spans.every, "start": str(spans.start), "end": str(spans.end)}
            self.sources[name] = SourceFacts(
                source.asset, source.grain, list(source.key), source.schema.to_json(), dates or None
            )
            self.schemas[name] = source.schema

    def build(self, name: str, use: Use) -> Any:
        """Takes the object that stands in for a declared one, else builds what is declared."""
        return self.objects[name] if name in self.objects else build(use.uses, use.with_)

    def describe(self, label: str, built: Any) -> BuiltObject:
        """Notes what an object contributes to the version of what it makes."""
        try:
            parameters = describe(built)
            self.code[label] = code_of(paths_in(parameters))
        except Undescribable as error:
            _LOG.warning("%s is made anew each time: its version cannot be told: %s", label, error)
            parameters = self.code[label] = None
        return BuiltObject(parameters, getattr(built, "depends_on_threads", True))

    def check_step(self, name: str, step: Step) -> None:
        with self.at("steps", name):
            transformer = self.build(name, step)
            if not hasattr(transformer, "transform"):
                kind = type(transformer).__name__
                raise BuildError(("uses",), f"{kind} has no transform; expected a transformer")
            for problem in declaration_problems(transformer):
                raise BuildError(("uses",), problem)
            declares = hasattr(transformer, "output_schema")
            schema = self._declared(name, step, transformer) if declares else self._plain(name, step, transformer)
            self.schemas[name] = schema
            self.require(schema, step.key or (), ("steps", name, "key"), f"step {name!r}")
            self.steps[name] = StepFacts(
                learns=learns(transformer),
                rows=getattr(transformer, "rows", None),
                key=list(transformer.key) if hasattr(transformer, "key") else None,
                lookback_seconds=transformer.lookback.total_seconds() if declares else 0.0,
                in_time=self._in_time(name, step, transformer) if declares else None,
                schema=schema.to_json(),
                types=own_types(transformer),
                built=self.describe(f"steps.{name}", transformer),
            )

    def _declared(self, name: str, step: Step, transformer: Any) -> Schema:
        """Asks a transformer of ours which columns it gives for its inputs' columns."""
        if step.columns is not None:
            raise BuildError(("columns",), "says itself which columns it takes; leave 'columns' out")
        if step.suffix:
            raise BuildError(("suffix",), "names its results itself; leave 'suffix' out")
        first, *others = (self.schemas.get(source, Schema(is_open=True)) for source in step.inputs)
        if others and not takes_side_inputs(transformer):
            kind = type(transformer).__name__
            raise BuildError(("inputs", 1), f"{kind} takes one input, found {len(step.inputs)}")
        try:
            side = dict(zip(step.inputs[1:], others, strict=True))
            schema: Schema = transformer.output_schema(first, **side)
        except DataError as error:
            raise DataError(f"step {name!r}: {error}") from error
        return schema

    def _in_time(self, name: str, step: Step, transformer: Any) -> str | None:
        """Returns the column that orders rows whose answers depend on those before them."""
        if transformer.row_wise or transformer.rows != "preserve":
            return None
        kind, as_of = type(transformer).__name__, transformer.as_of
        if as_of is None:
            raise BuildError(("uses",), f"{kind} is not row_wise and declares no as_of; say which column orders rows")
        schema = self.schemas.get(step.inputs[0], Schema(is_open=True))
        if schema.missing([as_of]):
            hint = expected_one_of(as_of, schema.names)
            raise BuildError(("uses",), f"{kind}: no column {as_of!r}, which as_of names: {hint}")
        return str(as_of)

    def _plain(self, name: str, step: Step, transformer: Any) -> Schema:
        """Works out what a plain scikit-learn transformer gives; it declares nothing."""
        if len(step.inputs) > 1:
            raise BuildError(("inputs", 1), f"{type(transformer).__name__} takes one input, found {len(step.inputs)}")
        schema = self.schemas.get(step.inputs[0], Schema(is_open=True))
        self.require(schema, step.columns or (), ("steps", name, "columns"), f"step {name!r}")
        return _plain_output_schema(transformer, schema, step)

    def require(self, schema: Schema, names: Sequence[str], place: Place, who: str) -> None:
        """Notes each name that the schema surely lacks."""
        for index, column in enumerate(names):
            if schema.missing([column]):
                self.note((*place, index), f"{who}: no column {column!r}: {expected_one_of(column, schema.names)}")

    def check_models(self) -> None:
        schema = self.schemas.get(self.spec.features.step, Schema(is_open=True))
        self.require(schema, self.spec.features.columns, ("features", "columns"), "features")
        self.require(schema, self.spec.evaluation.by, ("evaluation", "by"), "evaluation")
        if schema.missing([self.spec.target]):
            hint = expected_one_of(self.spec.target, schema.names)
            self.note(("target",), f"no column {self.spec.target!r} to learn: {hint}")
        elif self.spec.target in schema.names:
            found, allowed = schema[self.spec.target].type, TASKS[self.spec.task].target_types
            if found not in (*allowed, "any"):
                expected = " or ".join(allowed) + (" 0 and 1" if self.spec.task == "binary" else "")
                told = f"target {self.spec.target!r} is {found}; expected {expected} (task is {self.spec.task})"
                self.note(("target",), told)
        if self.spec.target in self.spec.features.columns:
            index = self.spec.features.columns.index(self.spec.target)
            self.note(("features", "columns", index), f"the target {self.spec.target!r} is among the features")
        for name, model in self.spec.models.items():
            with self.at("models", name):
                estimator = self.build(name, model)
                self._require_answers(estimator)
                self.models[name] = ModelFacts(own_types(estimator), self.describe(f"models.{name}", estimator))

    def _require_answers(self, estimator: Any) -> None:
        """Refuses an estimator that does not answer the pipeline's task."""
        from sklearn.base import is_regressor

        kind, asks, task = type(estimator).__name__, TASKS[self.spec.task].asks, self.spec.task
        if not is_network(estimator):
            refuse_nested(estimator, own_classes(estimator))
        if not hasattr(estimator, asks):
            wanted = "a classifier" if asks == "predict_proba" else "a regressor"
            raise BuildError(("uses",), f"{kind} has no {asks}; expected {wanted} that has")
        if task == "regression" and not is_regressor(estimator):
            raise BuildError(("uses",), f"{kind} is no regressor; expected one (task is regression)")


def inspect_here(spec: PipelineSpec, objects: Mapping[str, Any] | None = None) -> Inspection:
    """Inspects a pipeline in this process.

    Args:
        objects: transformers and models that stand in for declared ones, by step or model.
    """
    checker = _Checker(spec, objects or {})
    for name, path in spec.sources.items():
        checker.check_source(name, path)
    for name in in_order(spec):
        checker.check_step(name, spec.steps[name])
    checker.check_models()
    places = {place.rpartition(":")[0] for code in checker.code.values() if code for place in code.places.values()}
    files = {place: str(text_hash(Path(place))) for place in sorted(places)}
    return Inspection(checker.sources, checker.steps, checker.models, checker.code, files, checker.problems)


def _plain_output_schema(transformer: Any, schema: Schema, step: Step) -> Schema:
    """Infers what is known of the output: columns that pass through, and those that keep their names."""
    from sklearn.base import OneToOneFeatureMixin

    taken = list(step.columns or schema.names)
    if isinstance(transformer, OneToOneFeatureMixin):
        return schema.with_columns(Column(f"{name}{step.suffix}", "any", nullable=True) for name in taken)
    kept = tuple(c for c in schema.columns if step.suffix or c.name not in taken)
    return Schema(kept, is_open=True)


if __name__ == "__main__":
    answer = inspect_here(PipelineSpec.model_validate_json(sys.stdin.read()))
    sys.stdout.write("\n" + answer.to_json() + "\n")
