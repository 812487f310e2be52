"""How does a step learn, and turn frames into frames? What both runtimes call."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from ml_platform.artifacts import Artifact, Fitted, Frames
from ml_platform.errors import DataError, PlatformError, first_few, require_columns
from ml_platform.pipeline.compiled import CompiledStep
from ml_platform.pipeline.splitting import Cut, narrow, read_rows
from ml_platform.schema import Schema

if TYPE_CHECKING:
    import pandas as pd


def fit_step(step: CompiledStep, inputs: Sequence[Frames], cut: Cut, target: str) -> Fitted:
    """Fits a step's transformer on the training rows alone.

    Raises:
        DataError: a column that is not there, or no training rows.
    """
    transformer = step.build()
    used = [narrow(one, cut, ["train"]) for one in inputs]
    frames = used[0]
    check_inputs(step, transformer, inputs)
    frame = read_rows(frames, cut, ["train"], frames.columns, step.key)
    labels = frame.get(target)
    side = {name: other.read_all() for name, other in zip(step.side_inputs, used[1:], strict=True)}
    given = frame[step.columns] if step.columns else frame
    with naming(step.asset):
        transformer.fit(given, labels, **side)
    return Fitted.of(transformer, {"rows_fit": len(frame), "split": cut.facts()})


def transformed(step: CompiledStep, transformer: Any, inputs: Sequence[Frames]) -> Any:
    """Opens a step's result for inputs that are narrowed to what one partition may see: a frame, or its batches."""
    if hasattr(transformer, "transform_files"):
        first, *others = ([frames.path(key) for key in frames.parts] for frames in inputs)
        return transformer.transform_files(first, **dict(zip(step.side_inputs, others, strict=True)))
    side = {name: other.read_all() for name, other in zip(step.side_inputs, inputs[1:], strict=True)}
    return nullcontext(transform_frame(step, transformer, inputs[0].read_all(), side))


def transform_frame(
    step: CompiledStep, transformer: Any, frame: "pd.DataFrame", side: Mapping[str, "pd.DataFrame"]
) -> "pd.DataFrame":
    """Gives a step's result for a frame in memory and its side inputs, by name."""
    result: pd.DataFrame = (
        apply_plain(step, transformer, frame) if step.is_plain else transformer.transform(frame, **side)
    )
    return result


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


def check_inputs(step: CompiledStep, transformer: Any, inputs: Sequence[Frames]) -> None:
    """Compares the columns that are there with those that the step needs, before any work.

    Raises:
        DataError: names the step and the column.
    """
    first, *others = (_schema_of(frames) for frames in inputs)
    with naming(step.asset):
        if hasattr(transformer, "output_schema"):
            transformer.output_schema(first, **dict(zip(step.side_inputs, others, strict=True)))
        elif step.columns and not first.is_open:
            require_columns(first.names, step.columns, type(transformer).__name__)


def _schema_of(frames: Frames) -> Schema:
    part = next(iter(frames.parts.values()), None)
    return Schema.from_json(part.facts["schema"]) if part else Schema(is_open=True)


def lineage(artifacts: Iterable[Artifact]) -> dict[str, Any]:
    """Collects which versions of which steps values went through, refusing values that went through different ones.

    Returns:
        Step to `{"code": version}`, with `"fitted"` (digest of what it had learnt) and `"split"` where it learns.

    Raises:
        DataError: names the step, and the partitions that must be made again.
    """
    seen: dict[str, tuple[Artifact, Any]] = {}
    for artifact in artifacts:
        for step, state in artifact.lineage.items():
            first, known = seen.setdefault(step, (artifact, state))
            if known != state:
                raise DataError(
                    f"{artifact.label} and {first.label} went through different versions of step {step!r} "
                    f"({_shown(state)} and {_shown(known)}); materialize all partitions of {artifact.asset} again"
                )
    return {step: state for step, (_, state) in seen.items()}


def _shown(state: Mapping[str, Any]) -> str:
    fitted = state.get("fitted", "")[:8]
    return f"code {state['code'][:8]}" + (f", fitted state {fitted}" if fitted else "")


def require_same_lineage(frames: Frames, model: Fitted) -> None:
    """Refuses frames that went through other versions of steps than the model was trained on.

    Raises:
        DataError: names the steps, the frames and the model.
    """
    assert model.ref is not None
    states, trained = lineage(frames.parts.values()), model.ref.lineage
    other = [step for step in sorted({*states, *trained}) if states.get(step) != trained.get(step)]
    if other:
        labels = first_few([part.label for part in frames.parts.values()])
        raise DataError(
            f"{labels} went through other versions of {', '.join(other)} than {model.ref.label} was trained on; "
            f"materialize {frames.asset} and the model again, together"
        )


class naming:
    """Names the asset, and the partition, in whatever goes wrong inside."""

    def __init__(self, asset: str, partition: str | None = None):
        self._label = asset if partition is None else f"{asset}[{partition}]"

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, PlatformError):
            raise type(error)(f"{self._label}: {error}") from error
