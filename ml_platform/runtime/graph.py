"""Which values does a pipeline consist of, what does each need, and which version of which code makes it?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ml_platform.pipeline.compiled import CompiledPipeline, CompiledStep
from ml_platform.sources import Partitions, Source
from ml_platform.splits import Role, Split
from ml_platform.versions.closure import Code, hash_of

# Which rows a value without partitions is made from, where it is made from partitions.
_ROLES: Mapping[str, list[Role]] = {"fitted": ["train"], "model": ["train", "validation"], "evaluation": ["test"]}
_UNKNOWN = "unknown"  # the version of code that cannot be told


@dataclass(frozen=True)
class Node:
    """One value of a pipeline, an asset in Dagster's words: what it needs and what makes it.

    Attributes:
        name: what it is called within the pipeline, such as `shares_fitted`.
        kind: `source`, `frame`, `fitted`, `model`, `selection`, `evaluation`, `approved` or `predictions`.
        part: the source, step or model that it belongs to; for the others the name again.
        inputs: what its function calls each input, to the asset.
        spans: its partitions, None if there are none.
        recipe: parameters, symbols and distributions that decide the result; None if they cannot be told.
        places: symbol to file and line, for people.
    """

    name: str
    asset: str
    kind: str
    part: str
    inputs: Mapping[str, str]
    spans: Partitions | None
    stage: str
    launcher: tuple[str, ...]
    recipe: Mapping[str, Any] | None
    places: Mapping[str, str] = field(default_factory=dict)
    depends_on_threads: bool = False
    isolated: bool = False

    @cached_property
    def code_version(self) -> str:
        """Names the code and its parameters."""
        return _UNKNOWN if self.recipe is None else hash_of(self.recipe)[:20]

    @property
    def is_addressable(self) -> bool:
        """Whether its code can be told, so that what it made may be reused."""
        return self.recipe is not None

    @property
    def modules(self) -> set[str]:
        """Names the project's modules that its code is in."""
        return {label.rpartition(".")[0] for label in (self.recipe or {}).get("symbols", ()) if ":" not in label}

    @property
    def depends_on_device(self) -> bool:
        """Whether an accelerator may compute it."""
        return self.recipe is not None and "torch" in self.recipe["distributions"]

    @property
    def depends_on_split(self) -> bool:
        """Whether the split decides what it is made from."""
        return self.kind in _ROLES

    @property
    def keys(self) -> list[str | None]:
        """All its partitions; `[None]` where there are none."""
        return [*self.spans.keys] if self.spans else [None]


def nodes_of(pipeline: CompiledPipeline) -> dict[str, Node]:
    """Gives a pipeline's nodes by asset, each after its inputs."""
    nodes = [
        *(_source(pipeline, name) for name in pipeline.sources),
        *(node for step in pipeline.steps.values() for node in _step_nodes(pipeline, step)),
        *(_model(pipeline, name) for name in pipeline.spec.models),
        *_judging(pipeline),
    ]
    return {node.asset: node for node in nodes}


def needed(
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
    """Gives the partitions of a frame's asset; other values have none."""
    known: dict[str, Partitions | None] = {part.asset: part.spans for part in pipeline.sources.values()}
    known |= {part.asset: part.spans for part in pipeline.steps.values()}
    return known.get(asset)


def _recipe(
    pipeline: CompiledPipeline, kind: str, labels: Sequence[str], parameters: Any
) -> tuple[Any, Mapping[str, str]]:
    """Puts parameters and code together; None where the code or a parameter of it cannot be told."""
    code = pipeline.inspection.code[kind]
    assert code is not None
    for label in labels:
        own = pipeline.inspection.code[label]
        if own is None:
            return None, code.places
        code = own | code
    return _with_code(parameters, code), code.places


def _with_code(parameters: Any, code: Code) -> dict[str, Any]:
    return {
        "parameters": parameters,
        "symbols": code.symbols,
        "distributions": code.distributions,
        "platform": code.platform,
    }


def source_node(table: Source, code: Code, name: str = "") -> Node:
    """Gives the node of a table; pipelines that read it have the same."""
    recipe, asset = _with_code(table.declaration(), code), table.asset
    return Node(
        asset, asset, "source", name or table.name, {}, table.partitions, "source", ("cpu",), recipe, code.places
    )


def _source(pipeline: CompiledPipeline, name: str) -> Node:
    code = pipeline.inspection.code["source"]
    assert code is not None
    own = pipeline.inspection.code.get(f"sources.{name}")
    return source_node(pipeline.table(name), own | code if own else code, name)


def _step_nodes(pipeline: CompiledPipeline, step: CompiledStep) -> Iterator[Node]:
    maker, use, label = pipeline.inspection.steps[step.name].maker, step.use, f"steps.{step.name}"
    inputs = {name: pipeline.asset_of(name) for name in use.inputs}
    given = {"made by": maker.parameters, "inputs": use.inputs, "columns": step.columns, "key": list(step.key)}
    if step.learns:
        recipe, places = _recipe(pipeline, "fitted", [label], {**given, "target": pipeline.spec.target})
        name = f"{step.name}_fitted"
        yield Node(name, step.fitted_asset, "fitted", step.name, inputs, None, use.stage, use.launcher,
                   recipe, places, maker.depends_on_threads, use.isolated)  # fmt: skip
        inputs = {**inputs, "fitted_state": step.fitted_asset}
    recipe, places = _recipe(pipeline, "frame", [label], {**given, "suffix": use.suffix})
    yield Node(step.name, step.asset, "frame", step.name, inputs, step.spans, use.stage, use.launcher,
               recipe, places, maker.depends_on_threads, use.isolated)  # fmt: skip


def _model(pipeline: CompiledPipeline, name: str) -> Node:
    spec, maker = pipeline.spec, pipeline.inspection.models[name].maker
    parameters = {
        "made by": maker.parameters,
        "features": spec.features.columns,
        "task": spec.task,
        "target": spec.target,
        "key": list(pipeline.features.key),
    }
    recipe, places = _recipe(pipeline, "model", [f"models.{name}"], parameters)
    inputs, model = {"features": pipeline.features.asset}, spec.models[name]
    return Node(name, spec.asset(name), "model", name, inputs, None, "training", model.launcher,
                recipe, places, maker.depends_on_threads, model.isolated)  # fmt: skip


def _judging(pipeline: CompiledPipeline) -> Iterator[Node]:
    spec = pipeline.spec
    models = {name: spec.asset(name) for name in spec.models}
    features = {"features": pipeline.features.asset}
    gates = {name: gate.model_dump() for name, gate in spec.gates.items()}
    evaluated = {
        "pipeline": spec.pipeline, "description": spec.description, "by": spec.evaluation.by, "gates": gates,
        "features": spec.features.columns, "task": spec.task, "target": spec.target, "key": list(pipeline.features.key),
    }  # fmt: skip
    predicted = {"task": spec.task, "target": spec.target, "key": list(pipeline.features.key)}

    def node(name: str, stage: str, inputs: Mapping[str, str], parameters: Any, **more: Any) -> Node:
        # Whoever asks a model for probabilities runs its code.
        asked = [f"models.{model}" for model in spec.models] if name in ("evaluation", "predictions") else []
        recipe, places = _recipe(pipeline, name, asked, parameters)
        return Node(name, spec.asset(name), name, name, inputs, more.pop("spans", None), stage,
                    more.pop("launcher", ("cpu",)), recipe, places, **more)  # fmt: skip

    yield node("selection", "selection", models, {"task": spec.task})
    judged = {**features, **models, "selection": spec.asset("selection")}
    threads = any(facts.maker.depends_on_threads for facts in pipeline.inspection.models.values())
    yield node("evaluation", "evaluation", judged, evaluated,
               launcher=spec.evaluation.launcher, depends_on_threads=threads)  # fmt: skip
    yield node("approved", "deployment", {"evaluation": spec.asset("evaluation")}, {"gates": gates})
    yield node("predictions", "inference", {**features, "approved": spec.asset("approved")}, predicted,
               spans=pipeline.features.spans, depends_on_threads=threads)  # fmt: skip


def trusted_types(pipeline: CompiledPipeline, node: Node) -> Sequence[str]:
    """Names the classes that a node's stored object may be made of, as the pipeline's code has them."""
    inspection = pipeline.inspection
    return inspection.models[node.part].types if node.kind == "model" else inspection.steps[node.part].types
