"""How does a step learn, and turn frames into frames? What both runtimes call."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ml_platform.artifacts import Artifact, Fitted, Frames
from ml_platform.errors import DataError, PlatformError, first_few, require_columns
from ml_platform.pipeline.compiled import CompiledStep
from ml_platform.pipeline.splitting import Cut, narrow, read_rows
from ml_platform.schema import Schema, frame_schema

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
    return Fitted.of(transformer, {"rows_fit": len(frame), "split": cut.facts(), **gives(step, transformer, frame)})


def gives(step: CompiledStep, transformer: Any, frame: "pd.DataFrame") -> dict[str, Any]:
    """Tells the columns and types that a plain transformer answers with, for the day when there is no row to ask with.

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
    """Gives a step's result for a frame in memory and its side inputs, by name.

    Args:
        known: what was told of the transformer's fit.

    Raises:
        DataError: an input that does not fit what the transformer declares to need, or another number of rows than
            it declares to give.
    """
    refuse_unfit(transformer, frame, side)
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
        return _in_time(transformer, frame, side, step.in_time)
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


def _in_time(transformer: Any, frame: "pd.DataFrame", side: Mapping[str, Any], as_of: str) -> "pd.DataFrame":
    """Gives a transformer its rows in the order of their times, and answers in the order in which they came."""
    ordered = frame.reset_index(drop=True).sort_values(as_of, kind="stable")
    result: pd.DataFrame = transformer.transform(ordered.reset_index(drop=True), **side)
    refuse_rows(transformer, len(frame), len(result))
    return result.set_axis(ordered.index, axis=0).sort_index()


def refuse_unfit(transformer: Any, frame: "pd.DataFrame", side: Mapping[str, "pd.DataFrame"]) -> None:
    """Compares inputs with the schemas that a transformer declares to need, before any work.

    Raises:
        DataError: every violation, with column, count and first rows.
    """
    kind = type(transformer).__name__
    wanted = {f"{kind}: the first input": (getattr(transformer, "input_schema", None), frame)}
    other = getattr(transformer, "side_schema", None)
    wanted |= {f"{kind}: input {name!r}": (other, given) for name, given in side.items()}
    for label, (schema, given) in wanted.items():
        found = [] if schema is None else schema.violations(given, is_exact=False)
        if found:
            raise DataError(f"{label} does not fit what {kind} declares to need: {'; '.join(found)}")


def empty_answer(transformer: Any, frame: "pd.DataFrame", side: Mapping[str, "pd.DataFrame"]) -> "pd.DataFrame | None":
    """Answers an empty frame with an empty frame of the declared schema; most transformers refuse one.

    Returns:
        None where the schema is not declared, or rows are not made of rows: then the transformer must answer.
    """
    if transformer.rows == "aggregate":
        return None
    schema = transformer.output_schema(frame_schema(frame), **{name: frame_schema(one) for name, one in side.items()})
    return None if schema.is_open else schema.empty_frame(frame)


def refuse_rows(transformer: Any, before: int, after: int) -> None:
    """Refuses another number of rows than a transformer declares to give.

    Raises:
        DataError: with both numbers.
    """
    rows = getattr(transformer, "rows", "aggregate")
    if (rows == "preserve" and after != before) or (rows == "filter" and after > before):
        raise DataError(
            f"{type(transformer).__name__} declares rows = {rows!r}, but {before:,} rows came in and {after:,} out"
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


def plain_frame(transformer: Any, result: Any, given: "pd.DataFrame", name: str) -> "pd.DataFrame":
    """Gives what a plain scikit-learn transformer answers as a frame.

    Args:
        given: what it answers.
        name: what columns are called that nobody names.

    Raises:
        DataError: a sparse result.
    """
    import pandas as pd

    if isinstance(result, pd.DataFrame):
        return result
    if hasattr(result, "toarray"):
        raise DataError("a sparse result is no frame; set sparse_output: false")
    return pd.DataFrame(result, columns=_names_of(transformer, result.shape[1], given, name))


def _names_of(transformer: Any, width: int, given: "pd.DataFrame", name: str) -> list[str]:
    """Names the columns of an answer; one that learns nothing was not fitted, so a fitted copy is asked."""
    from sklearn.base import clone
    from sklearn.exceptions import NotFittedError

    if not hasattr(transformer, "get_feature_names_out"):
        return list(given.columns) if width == given.shape[1] else [f"{name}_{index}" for index in range(width)]
    try:
        return list(transformer.get_feature_names_out())
    except NotFittedError:
        return list(clone(transformer).fit(given).get_feature_names_out())


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
        if isinstance(error, Exception):
            error.add_note(f"while making {self._label}")
