"""Chooses the rows that a transformer is tried on: of given examples, or drawn from its declared schemas."""

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ml_platform.contract.application import takes_side_inputs
from ml_platform.contract.battery.report import Unusable
from ml_platform.contract.battery.subject import FIT_ROWS, Subject, block_positions
from ml_platform.errors import first_few
from ml_platform.schema import DTYPES, Column, Schema


def subject_of(transformer: Any, examples: Any, y: Any, side: Mapping[str, pd.DataFrame]) -> Subject:
    """Returns a transformer with the rows that it is tried on.

    Raises:
        Unusable: no transformer, or nothing to try it on.
    """
    _require_transformer(transformer)
    is_drawn = examples is None
    if is_drawn:
        examples, side = _drawn(transformer, side)
    _require_rows(examples, y)
    _require_sides(transformer, side)
    if not is_drawn:
        examples = _as_declared(transformer, examples)
    order = np.arange(len(examples))
    as_of = getattr(transformer, "as_of", None)
    if not getattr(transformer, "row_wise", True) and as_of in examples:
        order = np.argsort(examples[as_of].to_numpy(), kind="stable")  # as the runtimes give them
    # Blocks, not single rows: neighbours share groups and times, which is where rows that depend on each other show.
    taken = order[block_positions(len(examples), FIT_ROWS)]
    labels = y if y is None else np.asarray(y)[taken]
    return Subject(transformer, examples.iloc[taken].reset_index(drop=True), labels, side, is_drawn)


def _require_rows(examples: Any, y: Any) -> None:
    if not isinstance(examples, pd.DataFrame):
        raise Unusable(f"examples: expected a DataFrame, found {type(examples).__name__}")
    if examples.empty:
        raise Unusable(f"examples: expected rows and columns, found {len(examples)} of {examples.shape[1]}")
    twice = list(examples.columns[examples.columns.duplicated()])
    if twice:
        raise Unusable(f"examples: column {first_few(twice)} stands twice")
    if y is not None and len(y) != len(examples):
        raise Unusable(f"{len(examples):,} rows of examples and {len(y):,} of y; expected as many")


def _as_declared(transformer: Any, examples: pd.DataFrame) -> pd.DataFrame:
    """Returns the examples with the dtypes that columns of the declared types have in the store.

    Raises:
        Unusable: they do not fit the declared input schema.
    """
    kind = type(transformer).__name__
    schema = _declared_schema(transformer, "input_schema")
    if schema is None:
        return examples
    # Any width of integers and any unit of time, as in a notebook; the store would make them its own.
    wrong = schema.violations(examples, is_exact=False)
    if wrong:
        raise Unusable(f"the examples do not fit the input schema of {kind}: {first_few(wrong)}")
    exact = {column.name: DTYPES[column.type] for column in schema.columns if column.is_exact}
    exact |= {
        column.name: DTYPES["datetime" if examples[column.name].dt.tz is None else "timestamp"]
        for column in schema.columns
        if column.type == "datetime|timestamp"
    }
    try:
        return examples.astype(exact)
    except (TypeError, ValueError) as error:
        raise Unusable(f"the examples cannot be stored as {kind} declares: {error}") from error


def _declared_schema(transformer: Any, name: str) -> Schema | None:
    try:
        found: Schema | None = getattr(transformer, name, None)
    except Exception as error:
        raise Unusable(f"{type(transformer).__name__}.{name} raises {type(error).__name__}: {error}") from error
    return found


def _require_transformer(transformer: Any) -> None:
    kind = type(transformer).__name__
    if isinstance(transformer, type):
        raise Unusable(f"{transformer.__name__} is a class; expected an object: {transformer.__name__}(...)")
    for name in ("transform", "get_params", "__sklearn_tags__"):
        if not callable(getattr(transformer, name, None)):
            raise Unusable(f"{kind} has no {name}; expected a transformer: derive from ml_platform.DataTransformer")


def _require_sides(transformer: Any, side: Mapping[str, pd.DataFrame]) -> None:
    kind = type(transformer).__name__
    parameters = list(inspect.signature(transformer.transform).parameters.values())[1:]
    needed = [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD and one.default is one.empty]
    # A plain scikit-learn transformer has other parameters of transform, such as copy, which are no inputs.
    missing = [name for name in needed if name not in side] if hasattr(transformer, "output_schema") else []
    if missing:
        raise Unusable(f"{kind} takes the other inputs {first_few(missing)}; give examples of them, by name")
    if side and not (hasattr(transformer, "output_schema") and takes_side_inputs(transformer)):
        raise Unusable(f"{kind} takes one input, found examples of {first_few(list(side))} too")


def _drawn(transformer: Any, side: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame, Mapping[str, pd.DataFrame]]:
    """Draws examples from the declared schemas."""
    kind = type(transformer).__name__
    schema, other = (_declared_schema(transformer, name) for name in ("input_schema", "side_schema"))
    if schema is None or any(column.type == "any" for column in schema.columns):
        raise Unusable(f"no examples, and {kind} declares no input_schema to draw them from; give examples, or declare")
    if other is not None and not side:
        side = {"side": drawn_frame(other)}
    return drawn_frame(schema), side


def drawn_frame(schema: Schema, rows: int = 40) -> pd.DataFrame:
    """Draws rows that fit a schema, the ends of each range and missing values among them; always the same rows."""
    columns = {
        # A generator for each column: one more column in a schema leaves the others' values as they are.
        column.name: _drawn_column(column, rows, np.random.default_rng(place))
        for place, column in enumerate(schema.columns)
    }
    return pd.DataFrame(columns)


def _drawn_column(column: Column, rows: int, rng: np.random.Generator) -> Any:
    kind = column.type.split("|")[0].replace("any", "string")
    low, high = (column.minimum, column.maximum) if column.minimum is not None else (-100.0, 100.0)
    assert low is not None
    assert high is not None
    # Both ends of the range, as off-by-one faults show there.
    series: Any = pd.Series([low, high, *rng.uniform(low, high, rows - 2)])
    if kind == "string":
        series = pd.Series(rng.choice(["a", "b", "c", "", "a b", "ä"], rows))
    elif kind == "boolean":
        series = series > series.median()
    elif kind == "integer":
        series = series.round()
    elif kind in ("datetime", "timestamp"):
        series = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(rng.integers(0, 90 * 24, rows), unit="h")
        series = pd.Series(series) if kind == "timestamp" else pd.Series(series).dt.tz_localize(None)
    series = series.astype(DTYPES[kind])
    return series.mask(rng.random(rows) < 0.2) if column.nullable else series
