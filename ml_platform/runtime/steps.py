"""Fits a step of a pipeline on its training rows, and applies it to frames: what both runtimes call."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ml_platform.artifacts import Fitted, Frames
from ml_platform.contract.application import (
    empty_answer,
    plain_frame,
    refuse_rows,
    refuse_unfit,
    transform_in_time,
)
from ml_platform.errors import DataError, naming, require_columns
from ml_platform.pipeline.compiled import CompiledStep
from ml_platform.schema import Schema
from ml_platform.splits import Split, partitions_with, read_rows

if TYPE_CHECKING:
    import pandas as pd


def fit_step(step: CompiledStep, inputs: Sequence[Frames], split: Split, target: str) -> Fitted:
    """Fits a step's transformer on the training rows alone.

    Raises:
        DataError: a column that is not there, or no training rows.
    """
    transformer = step.build()
    # Side inputs are narrowed too: what is looked up in a test month must not reach what is learnt.
    used = [partitions_with(one, split, ["train"]) for one in inputs]
    frames = used[0]
    check_inputs(step, transformer, inputs)
    frame = read_rows(frames, split, ["train"], frames.columns, step.key)
    labels = frame.get(target)
    side = {name: other.read_all() for name, other in zip(step.side_inputs, used[1:], strict=True)}
    given = frame[step.columns] if step.columns else frame
    with naming(step.asset):
        transformer.fit(given, labels, **side)
    return Fitted.of(
        transformer, {"rows_fit": len(frame), "split": split.facts(), **plain_output_dtypes(step, transformer, frame)}
    )


def plain_output_dtypes(step: CompiledStep, transformer: Any, frame: "pd.DataFrame") -> dict[str, Any]:
    """Returns the columns and types that a plain transformer answers with, for when there is no row to ask with.

    Args:
        frame: rows that it was fitted on.
    """
    if not step.is_plain:
        return {}
    return {
        "gives": {str(name): str(dtype) for name, dtype in _plain_answer(step, transformer, frame[:1]).dtypes.items()}
    }


def transformed(
    step: CompiledStep, transformer: Any, inputs: Sequence[Frames], known: Mapping[str, Any] = MappingProxyType({})
) -> Any:
    """Opens a step's result for inputs that are narrowed to what one partition may see: a frame, or its batches.

    Args:
        known: what was told of the transformer's fit.
    """
    # Steps in DuckDB read files by themselves and give batches: no frame is whole in memory.
    if hasattr(transformer, "transform_files"):
        first, *others = ([frames.path(key) for key in frames.parts] for frames in inputs)
        return transformer.transform_files(first, **dict(zip(step.side_inputs, others, strict=True)))
    side = {name: other.read_all() for name, other in zip(step.side_inputs, inputs[1:], strict=True)}
    if step.spans is not None and step.looks_back_into(0) and len(inputs[0].parts) > 1:
        return nullcontext(_with_history(step, transformer, inputs[0], side))
    return nullcontext(transform_frame(step, transformer, inputs[0].read_all(), side, known))


def _with_history(step: CompiledStep, transformer: Any, rows: Frames, side: Mapping[str, Any]) -> "pd.DataFrame":
    """Transforms a partition's rows with those of its lookback before it, whose answers are left out again.

    Args:
        rows: the partitions of the lookback, and the own one, which is the last.
    """
    import pandas as pd

    *earlier, own = rows.parts
    frame, history = rows.read(own), rows.only(earlier).read_all()
    if frame.empty:
        return transform_frame(step, transformer, frame, side)
    assert step.in_time is not None
    # As far back as the declared lookback and no further: a whole run of all months must not know more than this one.
    seen = history[history[step.in_time] >= frame[step.in_time].min() - step.lookback]
    answer = transform_frame(step, transformer, pd.concat([seen, frame], ignore_index=True), side)
    return answer.iloc[len(seen) :].reset_index(drop=True)


def transform_frame(
    step: CompiledStep,
    transformer: Any,
    frame: "pd.DataFrame",
    side: Mapping[str, "pd.DataFrame"],
    known: Mapping[str, Any] = MappingProxyType({}),
) -> "pd.DataFrame":
    """Returns a step's result for a frame in memory and its side inputs, by name.

    Args:
        known: what was told of the transformer's fit.

    Raises:
        DataError: an input that does not fit what the transformer declares to need, or another number of rows than
            it declares to give.
    """
    refuse_unfit(transformer, frame, side)
    # Most transformers refuse an empty frame, and a month without a row is no failure.
    answer = empty_answer(transformer, frame, side) if frame.empty and not step.is_plain else None
    if answer is not None:
        return answer
    result = _answer(step, transformer, frame, side, known)
    if getattr(transformer, "rows", "preserve") == "preserve":
        refuse_other_keys(step, frame, result)
    return result


def _answer(
    step: CompiledStep,
    transformer: Any,
    frame: "pd.DataFrame",
    side: Mapping[str, "pd.DataFrame"],
    known: Mapping[str, Any],
) -> "pd.DataFrame":
    if step.is_plain:
        return apply_plain(step, transformer, frame, known.get("gives"))
    if step.in_time is not None:
        return transform_in_time(transformer, frame, side, step.in_time)
    result: pd.DataFrame = transformer.transform(frame, **side)
    refuse_rows(transformer, len(frame), len(result))
    return result


def refuse_other_keys(step: CompiledStep, frame: "pd.DataFrame", result: "pd.DataFrame") -> None:
    """Refuses rows that came out under another key: nobody could tell any more which rows they are.

    Raises:
        DataError: names the column, and a value before and after.
    """
    for name in () if step.use.key else step.key:
        if name not in frame or name not in result:
            continue
        before, after = frame[name].reset_index(drop=True), result[name].reset_index(drop=True)
        if not before.equals(after):
            changed = before.astype("str") != after.astype("str")
            shown = (
                f"{before[changed].iloc[0]!r} became {after[changed].iloc[0]!r}" if changed.any() else str(after.dtype)
            )
            raise DataError(
                f"step {step.name!r} changes {name!r}, which is of its rows' key ({', '.join(step.key)}), in "
                f"{int(changed.sum()):,} rows: {shown}; write the result into another column (suffix), or declare the "
                "key of what comes out"
            )


def apply_plain(
    step: CompiledStep, transformer: Any, frame: "pd.DataFrame", given: Mapping[str, str] | None = None
) -> "pd.DataFrame":
    """Lets a plain scikit-learn transformer change some columns; the others pass through.

    Args:
        given: the columns and types that it answers with, for an empty frame, which most of them refuse.

    Raises:
        DataError: a sparse result, or another number of rows.
    """
    added = _empty_plain(step, transformer, frame, given) if frame.empty else _plain_answer(step, transformer, frame)
    replaced = [] if step.use.suffix else [name for name in step.columns or frame.columns if name not in added]
    return frame.drop(columns=replaced).assign(**{str(name): values.array for name, values in added.items()})


def _plain_answer(step: CompiledStep, transformer: Any, frame: "pd.DataFrame") -> "pd.DataFrame":
    taken = list(step.columns or frame.columns)
    result = plain_frame(transformer, transformer.transform(frame[taken]), frame[taken], step.name)
    if len(result) != len(frame):
        raise DataError(f"{len(frame):,} rows in, {len(result):,} out; expected as many")
    return result.rename(columns=lambda name: f"{name}{step.use.suffix}")


def _empty_plain(
    step: CompiledStep, transformer: Any, frame: "pd.DataFrame", given: Mapping[str, str] | None
) -> "pd.DataFrame":
    """Answers an empty frame; one that learnt nothing is asked with a row of ones."""
    import pandas as pd

    if given is not None:
        return pd.DataFrame({name: pd.Series([], dtype=dtype) for name, dtype in given.items()})
    ones = pd.DataFrame({name: pd.Series([1]).astype(dtype) for name, dtype in frame.dtypes.items()})
    return _plain_answer(step, transformer, ones)[:0]


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
