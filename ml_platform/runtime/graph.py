"""Builds the graph of values that a pipeline consists of: what each needs, and the version of its code."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import Any

from ml_platform.pipeline.compiled import CompiledPipeline, CompiledStep
from ml_platform.sources import Partitions, Source
from ml_platform.splits import Role, Split
from ml_platform.versions.closure import Code, hash_of

# Which rows a value without partitions is made from, where it is made from partitions.
_ROLES: Mapping[str, list[Role]] = {"fitted": ["train"], "model": ["train", "validation"], "evaluation": ["test"]}
_UNKNOWN = "unknown"  # the version of code that cannot be told


@dataclass(frozen=True, kw_only=True)
class Node:
    """One value of a pipeline, an asset in Dagster's words: what it needs and what makes it.

    Attributes:
        name: what it is called within the pipeline, such as `shares_fitted`.
        kind: `source`, `frame`, `fitted`, `model`, `selection`, `evaluation`, `approved` or `predictions`.
        part: the source, step or model that it belongs to; for the others the name again.
        inputs: what its function calls each input, to the asset.
        spans: its partitions, None if there are none.
        code: parameters, symbols and distributions that decide the result; None if they cannot be told.
        places: symbol to file and line, for people.
    """

    name: str
    asset: str
    kind: str
    part: str
    inputs: Mapping[str, str]
    spans: Partitions | None = None
    stage: str
    launcher: tuple[str, ...] = ("cpu",)
    code: Mapping[str, Any] | None
    places: Mapping[str, str] = field(default_factory=dict)
    depends_on_threads: bool = False
    isolated: bool = False

    @cached_property
    def code_version(self) -> str:
        """Names the code and its parameters."""
        return _UNKNOWN if self.code is None else hash_of(self.code)[:20]

    @property
    def is_cacheable(self) -> bool:
        """Whether its code can be told, so that what it made may be reused."""
        return self.code is not None

    @property
    def modules(self) -> set[str]:
        """Names the project's modules that its code is in."""
        return {label.rpartition(".")[0] for label in (self.code or {}).get("symbols", ()) if ":" not in label}

    @property
    def depends_on_device(self) -> bool:
        """Whether an accelerator may compute it."""
        # By what the code imports, as nobody can tell from outside whether it computes on a device.
        return self.code is not None and "torch" in self.code["distributions"]

    @property
    def depends_on_split(self) -> bool:
        """Whether the split decides what it is made from."""
        return self.kind in _ROLES

    @property
    def keys(self) -> list[str | None]:
        """All its partitions; `[None]` where there are none."""
        return [*self.spans.keys] if self.spans else [None]


def nodes_of(pipeline: CompiledPipeline) -> dict[str, Node]:
    """Lists a pipeline's nodes by asset, each after its inputs."""
    nodes = [
        *(_source(pipeline, name) for name in pipeline.sources),
        *(node for step in pipeline.steps.values() for node in _step_nodes(pipeline, step)),
        *(_model(pipeline, name) for name in pipeline.spec.models),
        _selection(pipeline),
        _evaluation(pipeline),
        _approval(pipeline),
        _predictions(pipeline),
    ]
    return {node.asset: node for node in nodes}


def upstream_partitions(
    pipeline: CompiledPipeline, node: Node, split: Split | None, partition: str | None
) -> Iterator[tuple[str, str, list[str | None] | None]]:
    """Lists what one partition of a node is made from: input's name, its asset, its partitions.

    The partitions are `[None]` for an input that has none, and None for all there are.

    Args:
        split: the split of the run, for nodes that depend on it.
    """
    for position, (name, asset) in enumerate(node.inputs.items()):
        if spans_of(pipeline, asset) is None:
            yield name, asset, [None]
        else:
            yield name, asset, _keys(pipeline, node, split, partition, position)


def _keys(
    pipeline: CompiledPipeline, node: Node, split: Split | None, partition: str | None, position: int
) -> list[str | None] | None:
    # What is fitted or evaluated needs the partitions of its roles, whatever partition a run is for.
    if node.depends_on_split and split is not None:
        keys = split.partitions(_ROLES[node.kind])
        return None if keys is None else [*keys]
    if partition is None:
        return None
    step = pipeline.steps.get(node.part) if node.kind == "frame" else None
    if step is None or step.spans is None or not step.looks_back_into(position):
        return [partition]
    return [*step.spans.with_lookback(partition, step.lookback)]


def spans_of(pipeline: CompiledPipeline, asset: str) -> Partitions | None:
    """Returns the partitions of a frame's asset; other values have none."""
    known: dict[str, Partitions | None] = {part.asset: part.spans for part in pipeline.sources.values()}
    known |= {part.asset: part.spans for part in pipeline.steps.values()}
    return known.get(asset)


def source_node(table: Source, code: Code, name: str = "") -> Node:
    """Describes the node of a table; pipelines that read it have the same."""
    return Node(
        name=table.asset,
        asset=table.asset,
        kind="source",
        part=name or table.name,
        inputs={},
        spans=table.partitions,
        stage="source",
        code=_described(table.declaration(), code),
        places=code.places,
    )


def _source(pipeline: CompiledPipeline, name: str) -> Node:
    code = pipeline.inspection.code["source"]
    assert code is not None
    own = pipeline.inspection.code.get(f"sources.{name}")
    return source_node(pipeline.table(name), own | code if own else code, name)


def _step_nodes(pipeline: CompiledPipeline, step: CompiledStep) -> Iterator[Node]:
    """Describes what a step learns, if it does, and its frames."""
    built, use = pipeline.inspection.steps[step.name].built, step.use
    shared: dict[str, Any] = {
        "part": step.name, "stage": use.stage, "launcher": use.launcher, "isolated": use.isolated,
        "depends_on_threads": built.depends_on_threads,
    }  # fmt: skip
    code, inputs = [f"steps.{step.name}"], {name: pipeline.asset_of(name) for name in use.inputs}
    given = {"made by": built.parameters, "inputs": use.inputs, "columns": step.columns, "key": list(step.key)}
    if step.learns:
        learnt = {**given, "target": pipeline.spec.target}
        yield _node(pipeline, f"{step.name}_fitted", "fitted", inputs, learnt, uses=code, **shared)
        inputs = {**inputs, "fitted_state": step.fitted_asset}
    framed = {**given, "suffix": use.suffix}
    yield _node(pipeline, step.name, "frame", inputs, framed, uses=code, spans=step.spans, **shared)


def _model(pipeline: CompiledPipeline, name: str) -> Node:
    built, model = pipeline.inspection.models[name].built, pipeline.spec.models[name]
    parameters = {"made by": built.parameters, "features": pipeline.spec.features.columns, **_target(pipeline)}
    return _node(
        pipeline, name, "model", {"features": pipeline.features.asset}, parameters, stage="training",
        uses=[f"models.{name}"], launcher=model.launcher, isolated=model.isolated,
        depends_on_threads=built.depends_on_threads,
    )  # fmt: skip


def _selection(pipeline: CompiledPipeline) -> Node:
    parameters = {"task": pipeline.spec.task}
    return _node(pipeline, "selection", "selection", _model_assets(pipeline), parameters, stage="selection")


def _evaluation(pipeline: CompiledPipeline) -> Node:
    spec = pipeline.spec
    inputs = {
        "features": pipeline.features.asset, **_model_assets(pipeline), "selection": spec.asset("selection"),
    }  # fmt: skip
    parameters = {
        "pipeline": spec.pipeline, "description": spec.description, "by": spec.evaluation.by,
        "gates": _gates(pipeline), "features": spec.features.columns, **_target(pipeline),
    }  # fmt: skip
    return _node(
        pipeline, "evaluation", "evaluation", inputs, parameters, stage="evaluation",
        launcher=spec.evaluation.launcher, **_asking_models(pipeline),
    )  # fmt: skip


def _approval(pipeline: CompiledPipeline) -> Node:
    inputs = {"evaluation": pipeline.spec.asset("evaluation")}
    return _node(pipeline, "approved", "approved", inputs, {"gates": _gates(pipeline)}, stage="deployment")


def _predictions(pipeline: CompiledPipeline) -> Node:
    inputs = {"features": pipeline.features.asset, "approved": pipeline.spec.asset("approved")}
    return _node(
        pipeline, "predictions", "predictions", inputs, _target(pipeline), stage="inference",
        spans=pipeline.features.spans, **_asking_models(pipeline),
    )  # fmt: skip


def _model_assets(pipeline: CompiledPipeline) -> dict[str, str]:
    return {name: pipeline.spec.asset(name) for name in pipeline.spec.models}


def _target(pipeline: CompiledPipeline) -> dict[str, Any]:
    return {"task": pipeline.spec.task, "target": pipeline.spec.target, "key": list(pipeline.features.key)}


def _gates(pipeline: CompiledPipeline) -> dict[str, Any]:
    return {name: gate.model_dump() for name, gate in pipeline.spec.gates.items()}


def _asking_models(pipeline: CompiledPipeline) -> dict[str, Any]:
    """Describes what asks models for answers: it runs the code of all of them, on as many threads."""
    models = pipeline.inspection.models
    return {
        "uses": [f"models.{name}" for name in pipeline.spec.models],
        "depends_on_threads": any(model.built.depends_on_threads for model in models.values()),
    }


def _node(  # noqa: PLR0913  (the ways in which nodes differ)
    pipeline: CompiledPipeline,
    name: str,
    kind: str,
    inputs: Mapping[str, str],
    parameters: Any,
    *,
    uses: Sequence[str] = (),
    part: str = "",
    **more: Any,
) -> Node:
    """Builds a node.

    Args:
        uses: the parts of the pipeline whose code it runs, beside the platform's own.
    """
    codes = [pipeline.inspection.code[label] for label in (*uses, kind)]
    known = [code for code in codes if code is not None]
    total = reduce(lambda one, other: one | other, known)
    is_known = len(known) == len(codes)
    return Node(
        name=name,
        asset=pipeline.spec.asset(name),
        kind=kind,
        part=part or name,
        inputs=inputs,
        code=_described(parameters, total) if is_known else None,
        places=total.places,
        **more,
    )


def _described(parameters: Any, code: Code) -> dict[str, Any]:
    return {
        "parameters": parameters,
        "symbols": code.symbols,
        "distributions": code.distributions,
        "platform": code.platform,
    }


def trusted_types(pipeline: CompiledPipeline, node: Node) -> Sequence[str]:
    """Names the classes that a node's stored object may be made of, as the pipeline's code has them."""
    inspection = pipeline.inspection
    return inspection.models[node.part].types if node.kind == "model" else inspection.steps[node.part].types
