"""Defines `Subject`, the transformer under test with its example rows, fitted and called on fresh copies."""

import copy
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from ml_platform.contract.application import learns, plain_frame
from ml_platform.contract.battery.report import Unusable
from ml_platform.contract.equality import first_difference
from ml_platform.schema import Schema

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
        return learns(self.transformer)

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
        """Returns a fitted copy, or an unfitted one if the transformer does not learn, as the runtimes do.

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
        """Returns a fitted transformer that nobody used before."""
        try:
            # A copy of one fit, as a fit may take seconds and some checks ask for dozens.
            return copy.deepcopy(self._pristine)
        except TypeError:  # holds something that cannot be copied, such as a lock
            return self.fit()

    def answer(
        self, transformer: Any, frame: pd.DataFrame, side: Mapping[str, pd.DataFrame] | None = None, seed: int = 1
    ) -> Any:
        """Transforms a copy of the frame and returns the result, a frame.

        Args:
            side: the other inputs, where they are not the examples.
            seed: of the global random generators.

        Raises:
            Unusable: the transformer gives something else.
        """
        with seeded(seed):
            return self.ask(transformer, frame, side)

    def ask(self, transformer: Any, frame: pd.DataFrame, side: Mapping[str, pd.DataFrame] | None = None) -> Any:
        """Transforms a copy of the frame, with the global random generators as they are."""
        try:
            result = transformer.transform(fresh(frame), **({} if self.is_plain else self._side(side)))
        except SystemExit as error:
            raise RuntimeError(f"it calls sys.exit({error.code!r})") from error
        if self.is_plain:
            return plain_frame(transformer, result, frame, self.name.lower())
        if not isinstance(result, pd.DataFrame):
            raise Unusable(f"{self.name}.transform gives a {type(result).__name__}; expected a DataFrame")
        return result

    def _side(self, side: Mapping[str, pd.DataFrame] | None = None) -> dict[str, pd.DataFrame]:
        # Other inputs may be large; pandas copies what is written to.
        return {name: frame.copy(deep=False) for name, frame in (self.side if side is None else side).items()}


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds the global random generators, and restores their state afterwards."""
    # Only if the transformer imported it: importing torch takes longer than the whole battery.
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
    """Returns a copy with a memory layout of its own, so that the layout of its source decides not even a last bit."""
    # By position, as names may stand twice. BLAS sums in another order for another memory layout, and so gives other
    # last bits.
    columns = {place: _fresh_column(column) for place, (_, column) in enumerate(frame.items())}
    copied = pd.DataFrame(columns, index=range(len(frame)))
    copied.index, copied.columns = frame.index.copy(), frame.columns
    return copied


def _fresh_column(column: pd.Series) -> Any:
    if column.dtype == object:
        return pd.Series(copy.deepcopy(list(column)), dtype=object)  # of an array, pandas would guess another type
    # A slice of texts keeps the whole they were cut from, which shows in its bytes.
    return column.array.take(np.arange(len(column)))


def unfitted_copy(transformer: Any) -> Any:
    """Returns a copy of a transformer without what it learnt."""
    from sklearn.base import clone

    return clone(transformer)


def block_positions(count: int, wanted: int, size: int = 10) -> np.ndarray:
    """Returns the positions of blocks of neighbouring rows, spread over a frame."""
    if count <= wanted:
        return np.arange(count)
    # The first and the last block are always in, as frames are sorted by time or key more often than not.
    starts = np.linspace(0, count - size, max(1, wanted // size)).astype(int)
    return np.unique((starts[:, None] + np.arange(size)).ravel())


def _blocks(frame: pd.DataFrame, wanted: int) -> pd.DataFrame:
    return frame.iloc[block_positions(len(frame), wanted)].reset_index(drop=True)


def transformer_text(transformer: Any) -> str:
    """Returns a transformer with its parameters, on one line."""
    try:
        return " ".join(repr(transformer).split())
    except Exception as error:  # noqa: BLE001  (a constructor that does not store breaks repr; promise 1 says so)
        return f"{type(transformer).__name__}(...)  # repr raises {type(error).__name__}: {error}"
