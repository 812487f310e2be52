"""Applies a transformer to frames in memory, and refuses inputs and results that break what it declares."""

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ml_platform.errors import DataError
from ml_platform.schema import frame_schema

if TYPE_CHECKING:
    import pandas as pd


def takes_side_inputs(transformer: Any) -> bool:
    """Returns whether `transform` takes more than one frame."""
    return len(inspect.signature(transformer.transform).parameters) > 1


def learns(transformer: Any) -> bool:
    """Returns whether a transformer must be fitted before it answers."""
    return bool(transformer.__sklearn_tags__().requires_fit)


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
    """Returns an empty frame of the declared schema for an empty frame, which most transformers refuse.

    Returns:
        None where the schema is not declared, or rows are aggregated: then the transformer itself must answer.
    """
    # count(*) of no rows is one row in some aggregates and none in others; only the transformer knows.
    if transformer.rows == "aggregate":
        return None
    schema = transformer.output_schema(frame_schema(frame), **{name: frame_schema(one) for name, one in side.items()})
    # The runtimes get an empty frame when a partition has no row left after a filter.
    return None if schema.is_open else schema.empty_frame(frame)


def refuse_rows(transformer: Any, before: int, after: int) -> None:
    """Refuses a result with another number of rows than a transformer declares.

    Raises:
        DataError: with both numbers.
    """
    rows = getattr(transformer, "rows", "aggregate")
    if (rows == "preserve" and after != before) or (rows == "filter" and after > before):
        raise DataError(
            f"{type(transformer).__name__} declares rows = {rows!r}, but {before:,} rows came in and {after:,} out"
        )


def transform_in_time(transformer: Any, frame: "pd.DataFrame", side: Mapping[str, Any], as_of: str) -> "pd.DataFrame":
    """Transforms rows in the order of their times, and returns the result in the order in which they came."""
    # A stable sort keeps rows of one time as they came, so that two runs agree. The sorted index is how rows find their
    # way back.
    ordered = frame.reset_index(drop=True).sort_values(as_of, kind="stable")
    result: pd.DataFrame = transformer.transform(ordered.reset_index(drop=True), **side)
    refuse_rows(transformer, len(frame), len(result))
    return result.set_axis(ordered.index, axis=0).sort_index()


def plain_frame(transformer: Any, result: Any, given: "pd.DataFrame", name: str) -> "pd.DataFrame":
    """Returns the result of a plain scikit-learn transformer as a frame.

    Args:
        given: the frame that was transformed, for its columns' names.
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
    """Returns the names of a result's columns; of a transformer that learns nothing, those of a fitted copy."""
    from sklearn.base import clone
    from sklearn.exceptions import NotFittedError

    # FunctionTransformer and the like name nothing: as many columns as came in are taken for the same columns.
    if not hasattr(transformer, "get_feature_names_out"):
        return list(given.columns) if width == given.shape[1] else [f"{name}_{index}" for index in range(width)]
    try:
        return list(transformer.get_feature_names_out())
    except NotFittedError:
        return list(clone(transformer).fit(given).get_feature_names_out())
