"""How is a node's value made, or taken from what was made before? Both runtimes call this and nothing else."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ml_platform.artifacts import Artifact, ArtifactStore, Fitted, Frames, Origin, Report
from ml_platform.artifacts import frames as frame_files
from ml_platform.artifacts import objects as object_files
from ml_platform.artifacts import reports as report_files
from ml_platform.artifacts.objects import stored_object, write_object
from ml_platform.artifacts.reports import read_report, write_report
from ml_platform.artifacts.store import NOWHERE, Write, address_of
from ml_platform.errors import PlatformError
from ml_platform.pipeline.code import hash_of
from ml_platform.pipeline.compiled import CompiledPipeline
from ml_platform.pipeline.imports import refuse_changed_modules
from ml_platform.pipeline.running import check_inputs, fit_step, lineage, naming, require_same_lineage, transformed
from ml_platform.pipeline.splitting import Cut
from ml_platform.runtime.environment import environment_of, limited_threads
from ml_platform.runtime.nodes import Node, needed, trusted_types
from ml_platform.sources import TableSource

Value = Frames | Fitted | Report
_KINDS = {
    "source": frame_files.KIND, "frame": frame_files.KIND, "predictions": frame_files.KIND,
    "fitted": object_files.KIND, "model": object_files.KIND,
}  # fmt: skip


@dataclass(frozen=True)
class Made:
    """One partition of a node: its artifact, and whether it was there before."""

    artifact: Artifact
    reused: bool
    seconds: float


@dataclass(frozen=True)
class SourceWork:
    """What reading a table needs beside it.

    Attributes:
        reuse: whether to take values that the same computation gave before.
        report: told what long work is at, for people who wait.
    """

    store: ArtifactStore
    reuse: bool = True
    report: Callable[[str], None] = lambda _: None

    @property
    def files(self) -> Mapping[str, str]:
        """The texts that addresses were made from, where that was not just now."""
        return {}

    def known(self, recipe: Mapping[str, Any] | None) -> Artifact | None:
        """Finds what a computation gave before, if that may be reused."""
        return self.store.known(address_of(recipe)) if recipe is not None and self.reuse else None

    def add(self, node: Node, partition: str | None, write: Write, origin: Origin) -> Artifact:
        """Computes a value and keeps it; what was asked to be fresh takes the place of what was known.

        Raises:
            PlatformError: code that was changed after this process imported it.
        """
        if node.recipe is not None:
            refuse_changed_modules(node.modules, self.files)
        if not self.reuse and origin.recipe:
            self.store.forget(address_of(origin.recipe))
        with limited_threads(node):
            return self.store.add(node.asset, partition, _kind(node), write, origin)

    def describe(self, node: Node) -> None:
        """Keeps what a code version stands for: a plan compares with it."""
        if node.is_addressable and self.store.noted(f"code/{node.code_version}") is None:
            self.store.note(f"code/{node.code_version}", node.recipe)


@dataclass(frozen=True)
class Work(SourceWork):
    """What making needs beside a node and its inputs.

    Attributes:
        settle: gives the cut between training, validation and test.
    """

    pipeline: CompiledPipeline = field(kw_only=True)
    settle: Callable[[], Cut] = field(kw_only=True)

    @property
    def files(self) -> Mapping[str, str]:
        """The texts that the pipeline was loaded from."""
        return self.pipeline.inspection.files

    @cached_property
    def cut(self) -> Cut:
        """The cut, settled when it is first asked for."""
        return self.settle()


def make(work: Work, node: Node, inputs: Mapping[str, Value], partitions: Sequence[str | None]) -> Iterator[Made]:
    """Makes partitions of a node one after the other, reusing each that the same computation gave before.

    Nothing is visible to readers of the store until it is promoted.

    Args:
        inputs: by the names that the node has for them; frames with all partitions that may be needed.

    Raises:
        PlatformError: what was refused, with the asset's name.
    """
    if node.kind == "source":
        yield from make_source(work, node, work.pipeline.table(node.part), partitions)
        return
    work.describe(node)
    maker = _MAKERS[node.kind](work, node)
    seconds = {}
    for partition in partitions:
        started = time.perf_counter()
        used = narrowed(work, node, inputs, partition)
        recipe = recipe_of(node, work, used, maker.decided_by(used))
        known = work.known(recipe)
        ids = {artifact.label: artifact.id for artifact in _artifacts(maker.made_of(used))}
        origin = Origin(ids, recipe or {}, _lineage(node, used))
        if known is not None:
            artifact = work.store.adopt(known, node.asset, partition, origin)
        else:
            artifact = work.add(node, partition, maker.writer(used, partition), origin)
            seconds[partition or ""] = time.perf_counter() - started
        yield Made(artifact, known is not None, time.perf_counter() - started)
    _note_seconds(work.store, node, seconds)


def recipe_for(work: Work, node: Node, inputs: Mapping[str, Value], partition: str | None) -> dict[str, Any] | None:
    """Says which computation making one partition of a node would be, without doing it."""
    used = narrowed(work, node, inputs, partition)
    return recipe_of(node, work, used, _MAKERS[node.kind](work, node).decided_by(used))


def narrowed(work: Work, node: Node, inputs: Mapping[str, Value], partition: str | None) -> dict[str, Value]:
    """Keeps of the inputs only what one partition of a node is made from.

    Raises:
        ArtifactError: a partition that is not there.
    """
    cut = work.cut if node.depends_on_cut else None
    used: dict[str, Value] = {}
    for name, _, keys in needed(work.pipeline, node, cut, partition):
        value = inputs[name]
        used[name] = value.only(keys) if isinstance(value, Frames) else value
    return used


def recipe_of(
    node: Node, work: Work, used: Mapping[str, Value], decided_by: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Says which computation this is: equal recipes give equal bytes. None where the code cannot be told."""
    if not node.is_addressable:
        return None
    digests = {
        (name if artifact.partition is None else f"{name}[{artifact.partition}]"): _content_of(artifact)
        for name, value in used.items()
        for artifact in _artifacts({name: value})
    }
    split = {"split": work.cut.facts()} if node.depends_on_cut else {}
    environment = environment_of(node)
    return {"node": f"{node.kind}:{node.name}", "code": node.code_version, "environment": environment,
            "inputs": digests, **split, **decided_by}  # fmt: skip


def _content_of(artifact: Artifact) -> str:
    """Names all that a reader sees of a value: its files, and of a fitted object what is told of its fit."""
    if artifact.kind != object_files.KIND:
        return artifact.digest
    return hash_of([artifact.digest, dict(artifact.facts)])


def _artifacts(values: Mapping[str, Value]) -> Iterator[Artifact]:
    for value in values.values():
        if isinstance(value, Frames):
            yield from value.parts.values()
        elif value.ref is not None:
            yield value.ref


def _lineage(node: Node, used: Mapping[str, Value]) -> dict[str, Any]:
    """Says which versions of which steps the value went through, its own included; refuses a mixture."""
    if node.kind in ("selection", "approved"):
        return {}
    with naming(node.asset):
        if node.kind == "evaluation":
            return _evaluated_lineage(used)
        through = lineage(_artifacts(used))
    if node.kind != "frame":
        return through
    own = {"code": node.code_version}
    fitted = used.get("fitted_state")
    if fitted is not None and not isinstance(fitted, Frames) and fitted.ref is not None:
        own |= {"fitted": fitted.ref.digest, "split": fitted.facts["split"]}
    return {**through, node.part: own}


def _evaluated_lineage(used: Mapping[str, Value]) -> dict[str, Any]:
    """Refuses test rows that were made in another way than those that a model was trained on."""
    models = [value for value in used.values() if isinstance(value, Fitted)]
    features = used["features"]
    assert isinstance(features, Frames)
    for model in models:
        require_same_lineage(features, model)
    return lineage([model.ref for model in models if model.ref is not None])


def _kind(node: Node) -> str:
    return _KINDS.get(node.kind, report_files.KIND)


def _note_seconds(store: ArtifactStore, node: Node, seconds: Mapping[str, float]) -> None:
    """Keeps how long each partition took when it was last computed; a plan shows it."""
    if seconds:
        name = f"seconds/{node.asset}"
        store.note(name, {**(store.noted(name) or {}), **{key: round(took, 4) for key, took in seconds.items()}})


def make_source(work: SourceWork, node: Node, table: TableSource, partitions: Sequence[str | None]) -> Iterator[Made]:
    """Reads a table's partitions, reusing those of an equal file; all of them are checked before any is kept."""
    work.describe(node)
    started = time.perf_counter()
    recipes = {partition: source_recipe(node, table, partition) for partition in partitions}
    known = {partition: work.known(recipe) for partition, recipe in recipes.items()}
    missing = [partition for partition, artifact in known.items() if artifact is None]
    frames = table.read(missing) if missing else {}
    seconds = {}
    for partition in partitions:
        found = known[partition]
        if found is not None:
            yield Made(work.store.adopt(found, node.asset, partition, NOWHERE), True, 0.0)
            continue
        write = _frame_writer(frames[partition])
        artifact = work.add(node, partition, write, Origin(recipe=recipes[partition]))
        seconds[partition or ""] = (time.perf_counter() - started) / len(missing)
        yield Made(artifact, False, seconds[partition or ""])
    _note_seconds(work.store, node, seconds)


def source_recipe(node: Node, table: TableSource, partition: str | None) -> dict[str, Any]:
    """Says which reading of which file this is."""
    end = str(table.partitions.end_of(partition)) if table.partitions and partition else None
    return {"node": f"source:{node.asset}", "code": node.code_version, "file": table.content_hash,
            "from": partition, "until": end}  # fmt: skip


def _frame_writer(frame: Any) -> Write:
    return lambda folder: frame_files.write_frame(folder, frame)


class _Maker:
    """How one kind of node computes a partition from its narrowed inputs."""

    def __init__(self, work: Work, node: Node):
        self.work = work
        self.node = node
        self.pipeline = work.pipeline

    def decided_by(self, used: Mapping[str, Any]) -> dict[str, Any]:
        """Names what decides the result beside code and inputs."""
        return {}

    def made_of(self, used: Mapping[str, Any]) -> Mapping[str, Any]:
        """Names what the manifest is to say that the value was made of."""
        return used

    def writer(self, used: Mapping[str, Any], partition: str | None) -> Write:
        """Gives the function that computes the value and writes it into a folder."""
        raise NotImplementedError


class _FrameMaker(_Maker):
    transformer: Any = None

    def writer(self, used: Mapping[str, Any], partition: str | None) -> Write:
        step = self.pipeline.steps[self.node.part]
        inputs = [used[name] for name in step.use.inputs]
        if self.transformer is None:
            fitted = used.get("fitted_state")
            self.transformer = step.build() if fitted is None else fitted.estimator
            check_inputs(step, self.transformer, inputs)

        def write(folder: Path) -> Mapping[str, Any]:
            with naming(step.asset, partition), transformed(step, self.transformer, inputs) as frame:
                return frame_files.write_frame(folder, frame)

        return write


class _ObjectMaker(_Maker):
    def fit(self, used: Mapping[str, Any]) -> Fitted:
        raise NotImplementedError

    def writer(self, used: Mapping[str, Any], partition: str | None) -> Write:
        types = trusted_types(self.pipeline, self.node)

        def write(folder: Path) -> Mapping[str, Any]:
            fitted = self.fit(used)
            write_object(folder, fitted.estimator, types)
            return dict(fitted.facts)

        return write


class _FittedMaker(_ObjectMaker):
    def fit(self, used: Mapping[str, Any]) -> Fitted:
        step = self.pipeline.steps[self.node.part]
        inputs = [used[name] for name in step.use.inputs]
        return fit_step(step, inputs, self.work.cut, self.pipeline.spec.target)


class _ModelMaker(_ObjectMaker):
    def fit(self, used: Mapping[str, Any]) -> Fitted:
        from ml_platform.training import train_model

        return train_model(self.pipeline, self.node.part, used["features"], self.work.cut, self.work.report)


class _ReportMaker(_Maker):
    def report(self, used: Mapping[str, Any]) -> Report:
        raise NotImplementedError

    def writer(self, used: Mapping[str, Any], partition: str | None) -> Write:
        return lambda folder: write_report(folder, self.report(used))


class _SelectionMaker(_ReportMaker):
    def report(self, used: Mapping[str, Any]) -> Report:
        from ml_platform.training import select_best

        return select_best(used)


class _EvaluationMaker(_ReportMaker):
    def report(self, used: Mapping[str, Any]) -> Report:
        from ml_platform.evaluation import evaluate

        models = {name: used[name] for name in self.pipeline.spec.models}
        return evaluate(self.pipeline, used["features"], models, used["selection"], self.work.cut)


class _ApprovalMaker(_ReportMaker):
    def writer(self, used: Mapping[str, Any], partition: str | None) -> Write:
        from ml_platform.evaluation import approve

        approval = approve(self.pipeline.spec.gates, used["evaluation"])
        return lambda folder: write_report(folder, approval)


class _PredictionsMaker(_Maker):
    @cached_property
    def _models(self) -> dict[str, Fitted]:
        return {}

    def _model(self, approval: Report) -> Fitted:
        from ml_platform.evaluation.approval import approved_model

        if not self._models:
            self._models["approved"] = approved_model(self.pipeline, self.work.store, approval)
        return self._models["approved"]

    def made_of(self, used: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"features": used["features"], "model": self._model(used["approved"])}

    def decided_by(self, used: Mapping[str, Any]) -> dict[str, Any]:
        model = self._model(used["approved"])
        assert model.ref is not None
        digests = {f"features[{part.partition}]": part.digest for part in used["features"].parts.values()}
        return {
            "inputs": {**digests, "model": _content_of(model.ref)},
            "threshold": used["approved"].facts["threshold"],
        }

    def writer(self, used: Mapping[str, Any], partition: str | None) -> Write:
        from ml_platform.evaluation.scoring import predict_partition

        model, threshold = self._model(used["approved"]), used["approved"].facts["threshold"]
        return lambda folder: frame_files.write_frame(
            folder, predict_partition(self.pipeline, model, threshold, used["features"])
        )


_MAKERS: Mapping[str, type[_Maker]] = {
    "frame": _FrameMaker,
    "fitted": _FittedMaker,
    "model": _ModelMaker,
    "selection": _SelectionMaker,
    "evaluation": _EvaluationMaker,
    "approved": _ApprovalMaker,
    "predictions": _PredictionsMaker,
}


def value_of(work: Work, node: Node, parts: Mapping[str | None, Artifact]) -> Value:
    """Gives a node's artifacts as its readers take them."""
    kind = _kind(node)
    if kind == frame_files.KIND:
        return Frames(work.store, node.asset, parts)
    if None not in parts:
        raise PlatformError(f"{node.asset}: nothing there; make it first")
    if kind == object_files.KIND:
        return stored_object(work.store, parts[None], trusted_types(work.pipeline, node))
    return read_report(work.store, parts[None])
