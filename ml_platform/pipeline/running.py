"""How does a step turn frames into frames, one partition at a time?"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ml_platform.artifacts import Fitted, Frames
from ml_platform.errors import DataError, PlatformError, first_few, require_columns
from ml_platform.pipeline.compiled import CompiledStep
from ml_platform.pipeline.splitting import Cut, narrow, read_rows
from ml_platform.schema import Schema

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@dataclass(frozen=True)
class Part:
    """One partition's frame on its way to the store, with what it was made of."""

    partition: str | None
    frame: "pd.DataFrame | pa.RecordBatchReader"
    facts: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Parts:
    """A frame's partitions, computed one at a time as they are written."""

    stream: Iterator[Part]


def fit_step(step: CompiledStep, inputs: Sequence[Frames], cut: Cut, target: str) -> Fitted:
    """Fits a step's transformer on the training rows alone.

    Raises:
        DataError: a column that is not there, or no training rows.
    """
    transformer = step.build()
    used = [narrow(one, cut, ["train"]) for one in inputs]
    frames = used[0]
    _check_inputs(step, transformer, inputs)
    frame = read_rows(frames, cut, ["train"], frames.columns, step.key)
    labels = frame.get(target)
    side = {name: other.read_all() for name, other in zip(step.side_inputs, used[1:], strict=True)}
    given = frame[step.columns] if step.columns else frame
    with _naming(step, None):
        transformer.fit(given, labels, **side)
    facts = {"rows_fit": len(frame), "split": cut.facts(), "fitted": lineage(used)}
    return Fitted(transformer, facts, {label: ref for frames in used for label, ref in frames.ids().items()})


def transform_step(
    step: CompiledStep, inputs: Sequence[Frames], partitions: Sequence[str | None], fitted: Fitted | None
) -> Iterator[Part]:
    """Transforms partition by partition, in order; each result depends on its own partition (and lookback) alone.

    Raises:
        DataError: before any work, if a column is not there.
    """
    transformer = step.build() if fitted is None else fitted.estimator
    _check_inputs(step, transformer, inputs)
    for partition in partitions:
        chosen = [_window(step, frames, partition, is_first=not i) for i, frames in enumerate(inputs)]
        facts = {"fitted": lineage(chosen) | _own_state(step, fitted)}
        made_of = {label: ref for frames in chosen for label, ref in frames.ids().items()}
        if fitted is not None and fitted.ref is not None:
            made_of[fitted.ref.label] = fitted.ref.id
        with _naming(step, partition), _transformed(step, transformer, chosen) as frame:
            yield Part(partition, frame, facts, made_of)


def _transformed(step: CompiledStep, transformer: Any, inputs: Sequence[Frames]) -> Any:
    """Opens the result for one partition."""
    if hasattr(transformer, "transform_files"):
        first, *others = ([frames.path(key) for key in frames.parts] for frames in inputs)
        return transformer.transform_files(first, **dict(zip(step.side_inputs, others, strict=True)))
    frame = inputs[0].read_all()
    if step.is_plain:
        return nullcontext(apply_plain(step, transformer, frame))
    side = {name: other.read_all() for name, other in zip(step.side_inputs, inputs[1:], strict=True)}
    return nullcontext(transformer.transform(frame, **side))


def _window(step: CompiledStep, frames: Frames, partition: str | None, *, is_first: bool) -> Frames:
    """Narrows an input to what one partition may see: itself, and for side inputs what lies in the lookback."""
    if not frames.is_partitioned or partition is None:
        return frames.only(None)
    reach = timedelta(0) if is_first else step.lookback
    return frames.only(step.spans.with_lookback(partition, reach) if step.spans else [partition])


def apply_plain(step: CompiledStep, transformer: Any, frame: "pd.DataFrame") -> "pd.DataFrame":
    """Lets a plain scikit-learn transformer change some columns; the others pass through.

    Raises:
        DataError: a sparse result, or another number of rows.
    """
    import pandas as pd

    taken = list(step.columns or frame.columns)
    result = transformer.transform(frame[taken])
    if hasattr(result, "toarray"):
        raise DataError("a sparse result is no frame; set sparse_output: false")
    if len(result) != len(frame):
        raise DataError(f"{len(frame):,} rows in, {len(result):,} out; expected as many")
    if not isinstance(result, pd.DataFrame):
        result = pd.DataFrame(result, columns=_names_of(transformer, result.shape[1], taken, step.name))
    added = {f"{name}{step.use.suffix}": result[name].array for name in result}
    replaced = [] if step.use.suffix else [name for name in taken if name not in added]
    return frame.drop(columns=replaced).assign(**added)


def _names_of(transformer: Any, width: int, taken: Sequence[str], name: str) -> list[str]:
    if hasattr(transformer, "get_feature_names_out"):
        return list(transformer.get_feature_names_out())
    return list(taken) if width == len(taken) else [f"{name}_{index}" for index in range(width)]


def _check_inputs(step: CompiledStep, transformer: Any, inputs: Sequence[Frames]) -> None:
    """Compares the columns that are there with those that the step needs, before any work."""
    first, *others = (_schema_of(frames) for frames in inputs)
    with _naming(step, None):
        if hasattr(transformer, "output_schema"):
            transformer.output_schema(first, **dict(zip(step.side_inputs, others, strict=True)))
        elif step.columns and not first.is_open:
            require_columns(first.names, step.columns, type(transformer).__name__)


def _schema_of(frames: Frames) -> Schema:
    part = next(iter(frames.parts.values()), None)
    return Schema.from_json(part.facts["schema"]) if part else Schema(is_open=True)


def _own_state(step: CompiledStep, fitted: Fitted | None) -> dict[str, Any]:
    if fitted is None or fitted.ref is None:
        return {}
    return {step.fitted_asset: {"digest": fitted.ref.digest, "split": fitted.facts["split"]}}


def lineage(inputs: Sequence[Frames]) -> dict[str, Any]:
    """Collects which fitted steps the frames went through, refusing frames that went through different ones.

    Raises:
        DataError: names the step, and the partition that must be made again.
    """
    seen: dict[str, tuple[str, Any]] = {}
    for frames in inputs:
        for part in frames.parts.values():
            for asset, state in part.facts.get("fitted", {}).items():
                label, known = seen.setdefault(asset, (part.label, state))
                if known != state:
                    raise DataError(
                        f"{part.label} and {label} went through different versions of {asset} ({state['digest'][:8]} "
                        f"and {known['digest'][:8]}); materialize all partitions of {frames.asset} again"
                    )
    return {asset: state for asset, (_, state) in seen.items()}


def require_same_lineage(frames: Frames, model: Fitted) -> None:
    """Refuses frames that went through other fitted steps than the model was trained on.

    Raises:
        DataError: names the fitted steps, the frames and the model.
    """
    states = lineage([frames])
    if states != model.facts["fitted"]:
        assert model.ref is not None
        raise DataError(
            f"{first_few(list(frames.ids()))} went through other versions of {', '.join(states)} than "
            f"{model.ref.label} was trained on; materialize {frames.asset} and the model again, together"
        )


class _naming:
    """Names step and partition in whatever goes wrong inside."""

    def __init__(self, step: CompiledStep, partition: str | None):
        self._label = step.asset if partition is None else f"{step.asset}[{partition}]"

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, PlatformError):
            raise type(error)(f"{self._label}: {error}") from error
