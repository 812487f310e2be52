"""Computes one partition of a node: one `Materializer` class for each kind of node."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from ml_platform.artifacts import Artifact, Fitted, Frames, Report
from ml_platform.artifacts import frames as frame_files
from ml_platform.artifacts import objects as object_files
from ml_platform.artifacts.objects import stored_object, write_object
from ml_platform.artifacts.reports import read_report, write_report
from ml_platform.artifacts.store import Write
from ml_platform.errors import PlatformError, naming
from ml_platform.runtime.context import RunContext, kind_of
from ml_platform.runtime.graph import Node, trusted_types
from ml_platform.runtime.steps import check_inputs, fit_step, transformed
from ml_platform.tasks import TASKS
from ml_platform.versions.closure import hash_of

Value = Frames | Fitted | Report


def content_digest(artifact: Artifact) -> str:
    """Names all that a reader sees of a value: its files, and of a fitted object what is told of its fit."""
    # A fitted object's facts (threshold, classes) reach what comes after it, and are in none of its files.
    if artifact.kind != object_files.KIND:
        return artifact.digest
    return hash_of([artifact.digest, dict(artifact.facts)])


def artifacts_of(values: Mapping[str, Value]) -> Iterator[Artifact]:
    """Lists the artifacts of values."""
    for value in values.values():
        if isinstance(value, Frames):
            yield from value.parts.values()
        elif value.ref is not None:
            yield value.ref


class Materializer:
    """How one kind of node computes a partition from its narrowed inputs."""

    def __init__(self, run: RunContext, node: Node):
        self.run = run
        self.node = node
        self.pipeline = run.pipeline

    def decided_by(self, used: Mapping[str, Any]) -> dict[str, Any]:
        """Names what decides the result beside code and inputs."""
        return {}

    def manifest_inputs(self, used: Mapping[str, Any]) -> Mapping[str, Any]:
        """Names what the manifest is to say that the value was made of."""
        return used

    def writer(self, used: Mapping[str, Any], partition: str | None) -> Write:
        """Returns the function that computes the value and writes it into a folder."""
        raise NotImplementedError


class _FrameMaterializer(Materializer):
    transformer: Any = None
    known: Mapping[str, Any]

    def writer(self, used: Mapping[str, Any], partition: str | None) -> Write:
        step = self.pipeline.steps[self.node.part]
        inputs = [used[name] for name in step.use.inputs]
        # Once for all partitions: reading a fitted state costs as much as transforming a month.
        if self.transformer is None:
            fitted = used.get("fitted_state")
            self.transformer, self.known = (step.build(), {}) if fitted is None else (fitted.estimator, fitted.facts)
            check_inputs(step, self.transformer, inputs)

        def write(folder: Path) -> Mapping[str, Any]:
            with naming(step.asset, partition), transformed(step, self.transformer, inputs, self.known) as frame:
                return frame_files.write_frame(folder, frame)

        return write


class _ObjectMaterializer(Materializer):
    def fit(self, used: Mapping[str, Any]) -> Fitted:
        raise NotImplementedError

    def writer(self, used: Mapping[str, Any], partition: str | None) -> Write:
        types = trusted_types(self.pipeline, self.node)

        def write(folder: Path) -> Mapping[str, Any]:
            fitted = self.fit(used)
            write_object(folder, fitted.estimator, types)
            return dict(fitted.facts)

        return write


class _FittedMaterializer(_ObjectMaterializer):
    def fit(self, used: Mapping[str, Any]) -> Fitted:
        step = self.pipeline.steps[self.node.part]
        inputs = [used[name] for name in step.use.inputs]
        return fit_step(step, inputs, self.run.split, self.pipeline.spec.target)


class _ModelMaterializer(_ObjectMaterializer):
    def fit(self, used: Mapping[str, Any]) -> Fitted:
        from ml_platform.training import train_model

        with naming(self.node.asset):
            return train_model(self.pipeline, self.node.part, used["features"], self.run.split, self.run.report)


class _ReportMaterializer(Materializer):
    def report(self, used: Mapping[str, Any]) -> Report:
        raise NotImplementedError

    def writer(self, used: Mapping[str, Any], partition: str | None) -> Write:
        return lambda folder: write_report(folder, self.report(used))


class _SelectionMaterializer(_ReportMaterializer):
    def report(self, used: Mapping[str, Any]) -> Report:
        from ml_platform.evaluation import select_best

        return select_best(used, TASKS[self.pipeline.spec.task])


class _EvaluationMaterializer(_ReportMaterializer):
    def report(self, used: Mapping[str, Any]) -> Report:
        from ml_platform.evaluation import evaluate

        models = {name: used[name] for name in self.pipeline.spec.models}
        return evaluate(self.pipeline, used["features"], models, used["selection"], self.run.split)


class _ApprovalMaterializer(_ReportMaterializer):
    def writer(self, used: Mapping[str, Any], partition: str | None) -> Write:
        from ml_platform.evaluation import approve

        # Before anything is written: a gate that fails leaves the former approval as it is.
        approval = approve(self.pipeline.spec.gates, used["evaluation"])
        return lambda folder: write_report(folder, approval)


class _PredictionsMaterializer(Materializer):
    @cached_property
    def _models(self) -> dict[str, Fitted]:
        return {}

    def _model(self, approval: Report) -> Fitted:
        from ml_platform.evaluation.approval import approved_model

        # The version that was approved, which need not be the current one: a newer model may wait for its gates.
        if not self._models:
            self._models["approved"] = approved_model(self.pipeline, self.run.store, approval)
        return self._models["approved"]

    def _threshold(self, used: Mapping[str, Any]) -> float | None:
        from ml_platform.evaluation import Approval

        return Approval.of(used["approved"]).threshold

    def manifest_inputs(self, used: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"features": used["features"], "model": self._model(used["approved"])}

    def decided_by(self, used: Mapping[str, Any]) -> dict[str, Any]:
        model = self._model(used["approved"])
        assert model.ref is not None
        # Not the approval's own digest: approving the same model again recomputes no prediction.
        digests = {f"features[{part.partition}]": part.digest for part in used["features"].parts.values()}
        return {
            "inputs": {**digests, "model": content_digest(model.ref)},
            "threshold": self._threshold(used),
        }

    def writer(self, used: Mapping[str, Any], partition: str | None) -> Write:
        from ml_platform.evaluation.predictions import predict_partition

        model, threshold = self._model(used["approved"]), self._threshold(used)
        return lambda folder: frame_files.write_frame(
            folder, predict_partition(self.pipeline, model, threshold, used["features"])
        )


MATERIALIZERS: Mapping[str, type[Materializer]] = {
    "frame": _FrameMaterializer,
    "fitted": _FittedMaterializer,
    "model": _ModelMaterializer,
    "selection": _SelectionMaterializer,
    "evaluation": _EvaluationMaterializer,
    "approved": _ApprovalMaterializer,
    "predictions": _PredictionsMaterializer,
}


def value_of(run: RunContext, node: Node, parts: Mapping[str | None, Artifact]) -> Value:
    """Returns a node's artifacts as its readers take them."""
    kind = kind_of(node)
    if kind == frame_files.KIND:
        return Frames(run.store, node.asset, parts)
    if None not in parts:
        raise PlatformError(f"{node.asset}: nothing there; make it first")
    if kind == object_files.KIND:
        return stored_object(run.store, parts[None], trusted_types(run.pipeline, node))
    return read_report(run.store, parts[None])
