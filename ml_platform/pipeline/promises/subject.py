"""What is a transformer tried on, and how does it answer?"""

import copy
import inspect
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from ml_platform.errors import first_few
from ml_platform.pipeline.equality import first_difference
from ml_platform.pipeline.promises.verdicts import Unusable
from ml_platform.pipeline.running import plain_frame
from ml_platform.schema import DTYPES, Column, Schema

FIT_ROWS = 400
POOL_ROWS = 60


@dataclass(frozen=True)
class Subject:
    """A transformer with the rows that it is tried on.

    Attributes:
        transformer: unfitted; it is copied before each use.
        X, y, side: what it is fitted on.
        is_drawn: whether the rows were drawn from its declared schemas.
    """

    transformer: Any
    X: pd.DataFrame
    y: Any = None
    side: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    is_drawn: bool = False

    @property
    def name(self) -> str:
        """What the transformer is called."""
        return type(self.transformer).__name__

    @property
    def is_plain(self) -> bool:
        """Whether it is scikit-learn's own kind, which declares nothing."""
        return not hasattr(self.transformer, "output_schema")

    @property
    def rows(self) -> str:
        """What it declares to do to rows."""
        return str(getattr(self.transformer, "rows", "preserve"))

    @property
    def row_wise(self) -> bool:
        """Whether it declares that a row's answer depends on no other row."""
        return bool(getattr(self.transformer, "row_wise", True))

    @property
    def as_of(self) -> str | None:
        """The column that it declares to say when a row was known."""
        found: str | None = getattr(self.transformer, "as_of", None)
        return found

    @property
    def learns(self) -> bool:
        """Whether it must be fitted before it answers."""
        return bool(self.transformer.__sklearn_tags__().requires_fit)

    @property
    def input_schema(self) -> Schema | None:
        """The columns that it declares to need."""
        found: Schema | None = getattr(self.transformer, "input_schema", None)
        return found

    @cached_property
    def pool(self) -> pd.DataFrame:
        """A few of the rows, in order, in blocks of neighbours."""
        return _blocks(self.X, POOL_ROWS)

    @cached_property
    def _pristine(self) -> Any:
        return self.fit()

    def fit(self, seed: int = 1) -> Any:
        """Gives a copy that is fitted, or as it was built if it does not learn, as the runtimes do.

        Args:
            seed: of the global random generators; always the same, but where that is what is tried.
        """
        built = unfitted_copy(self.transformer)
        if self.learns:
            y = copy.deepcopy(self.y)
            with seeded(seed):
                built.fit(fresh(self.X), y, **({} if self.is_plain else self._side()))
        return built

    @cached_property
    def _fits_equally(self) -> bool:
        one, other = (self.answer(self.fit(), self.pool) for _ in range(2))
        return first_difference(one, other, ("one", "other")) is None

    def fit_again(self) -> Any:
        """Fits anew, unless chance alone would make that another transformer (which is the matter of determinism)."""
        return self.fit() if self._fits_equally else self.fitted()

    def fitted(self) -> Any:
        """Gives a fitted transformer that nobody used before."""
        try:
            return copy.deepcopy(self._pristine)
        except TypeError:  # holds something that cannot be copied, such as a lock
            return self.fit()

    def answer(
        self, transformer: Any, frame: pd.DataFrame, side: Mapping[str, pd.DataFrame] | None = None, seed: int = 1
    ) -> Any:
        """Transforms a copy of the frame; what comes out is a frame.

        Args:
            side: the other inputs, where they are not the examples.
            seed: of the global random generators.

        Raises:
            Unusable: the transformer gives something else.
        """
        given = fresh(frame)
        with seeded(seed):
            result = transformer.transform(given, **({} if self.is_plain else self._side(side)))
        if self.is_plain:
            return plain_frame(transformer, result, frame, self.name.lower())
        if not isinstance(result, pd.DataFrame):
            raise Unusable(f"{self.name}.transform gives a {type(result).__name__}; expected a DataFrame")
        return result

    def _side(self, side: Mapping[str, pd.DataFrame] | None = None) -> dict[str, pd.DataFrame]:
        return {name: fresh(frame) for name, frame in (self.side if side is None else side).items()}


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds the global random generators, and puts them back."""
    torch: Any = sys.modules.get("torch")
    before = random.getstate(), np.random.get_state(), torch.get_rng_state() if torch else None
    random.seed(seed)
    np.random.seed(seed)
    if torch:
        torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        if torch:
            torch.set_rng_state(before[2])


def fresh(frame: pd.DataFrame) -> pd.DataFrame:
    """Copies a frame into memory of an order of its own: what it was made of decides nothing, not even a last bit."""
    columns = {place: frame.iloc[:, place].array.copy() for place in range(frame.shape[1])}
    return pd.DataFrame(columns, index=frame.index.copy()).set_axis(frame.columns, axis=1)


def unfitted_copy(transformer: Any) -> Any:
    """Copies a transformer without what it learnt."""
    from sklearn.base import clone

    return clone(transformer)


def subject_of(transformer: Any, examples: Any, y: Any, side: Mapping[str, pd.DataFrame]) -> Subject:
    """Puts a transformer and what it is tried on together.

    Raises:
        Unusable: no transformer, or nothing to try it on.
    """
    _require_transformer(transformer)
    is_drawn = examples is None
    if is_drawn:
        examples, side = _drawn(transformer, side)
    if not isinstance(examples, pd.DataFrame) or examples.empty:
        raise Unusable(f"examples: expected a DataFrame with rows, found {type(examples).__name__} of {len(examples)}")
    _require_sides(transformer, side)
    subject = Subject(transformer, examples, y, side, is_drawn)
    if subject.input_schema is not None and not is_drawn:
        wrong = subject.input_schema.violations(examples, is_exact=False)
        if wrong:
            raise Unusable(f"the examples do not fit the input schema of {subject.name}: {first_few(wrong)}")
    taken = _block_positions(len(examples), FIT_ROWS)
    labels = y if y is None else np.asarray(y)[taken]
    return Subject(transformer, examples.iloc[taken].reset_index(drop=True), labels, side, is_drawn)


def _require_transformer(transformer: Any) -> None:
    kind = type(transformer).__name__
    if isinstance(transformer, type):
        raise Unusable(f"{transformer.__name__} is a class; expected an object: {transformer.__name__}(...)")
    for name in ("transform", "get_params", "__sklearn_tags__"):
        if not hasattr(transformer, name):
            raise Unusable(
                f"{kind} has no {name}; expected a transformer: derive from ml_platform.pipeline.DataTransformer"
            )


def takes_side_inputs(transformer: Any) -> bool:
    """Says whether `transform` takes other frames than the first."""
    parameters = list(inspect.signature(transformer.transform).parameters.values())
    return len(parameters) > 1 and hasattr(transformer, "output_schema")


def _require_sides(transformer: Any, side: Mapping[str, pd.DataFrame]) -> None:
    kind = type(transformer).__name__
    parameters = list(inspect.signature(transformer.transform).parameters.values())[1:]
    needed = [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD and one.default is one.empty]
    missing = [name for name in needed if name not in side] if hasattr(transformer, "output_schema") else []
    if missing:
        raise Unusable(f"{kind} takes the other inputs {first_few(missing)}; give examples of them, by name")
    if side and not takes_side_inputs(transformer):
        raise Unusable(f"{kind} takes one input, found examples of {first_few(list(side))} too")


def _drawn(transformer: Any, side: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame, Mapping[str, pd.DataFrame]]:
    """Draws examples from the declared schemas."""
    kind = type(transformer).__name__
    try:
        schema, other = (getattr(transformer, name, None) for name in ("input_schema", "side_schema"))
    except Exception as error:
        raise Unusable(f"{kind}.input_schema raises {type(error).__name__}: {error}") from error
    if schema is None or any(column.type == "any" for column in schema.columns):
        raise Unusable(f"no examples, and {kind} declares no input_schema to draw them from; give examples, or declare")
    if other is not None and not side:
        side = {"side": drawn_frame(other)}
    return drawn_frame(schema), side


def drawn_frame(schema: Schema, rows: int = 40) -> pd.DataFrame:
    """Draws rows that fit a schema, the ends of each range and missing values among them; always the same rows."""
    columns = {
        column.name: _drawn_column(column, rows, np.random.default_rng(place))
        for place, column in enumerate(schema.columns)
    }
    return pd.DataFrame(columns)


def _drawn_column(column: Column, rows: int, rng: np.random.Generator) -> Any:
    kind = column.type.split("|")[0].replace("any", "string")
    low, high = (column.minimum, column.maximum) if column.minimum is not None else (-100.0, 100.0)
    assert low is not None
    assert high is not None
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


def _block_positions(count: int, wanted: int, size: int = 10) -> np.ndarray:
    """Spreads blocks of neighbouring rows over a frame."""
    if count <= wanted:
        return np.arange(count)
    starts = np.linspace(0, count - size, max(1, wanted // size)).astype(int)
    return np.unique((starts[:, None] + np.arange(size)).ravel())


def _blocks(frame: pd.DataFrame, wanted: int) -> pd.DataFrame:
    return frame.iloc[_block_positions(len(frame), wanted)].reset_index(drop=True)


def told(transformer: Any) -> str:
    """Shows a transformer with its parameters, on one line."""
    try:
        return " ".join(repr(transformer).split())
    except Exception as error:  # noqa: BLE001  (a constructor that does not store breaks repr; promise 1 says so)
        return f"{type(transformer).__name__}(...)  # repr raises {type(error).__name__}: {error}"
