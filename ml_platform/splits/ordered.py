"""Splits rows by a number in their key, such as a patient's or an image's: the first train, the last test."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import model_validator

from ml_platform.errors import Place, expected_one_of
from ml_platform.sources import Partitions
from ml_platform.splits.base import ROLES, Role, SplitMethod

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


class OrderedSplit(SplitMethod):
    """Rows by a number in their key: those below `validation_from` train, those from `test_from` on test.

    By the number, never by a row's rank: a rank depends on which other rows are there.
    """

    method: Literal["ordered"]
    column: str
    validation_from: int | float
    test_from: int | float

    @model_validator(mode="after")
    def _be_in_order(self) -> "OrderedSplit":
        if self.validation_from >= self.test_from:
            raise ValueError("expected validation_from below test_from")
        return self

    def problems(self, key: Sequence[str]) -> Iterator[tuple[Place, str]]:
        """Every frame that is split must have the column: so it must be in the key of all of them."""
        if self.column not in key:
            yield ("column",), f"the rows' key has no column {self.column!r}: {expected_one_of(self.column, key)}"

    def resolve(self, key: Sequence[str], spans: Partitions | None, newest: str | None, as_of: str) -> "SplitByNumber":
        """Needs what is declared alone."""
        return SplitByNumber(self)


@dataclass(frozen=True)
class SplitByNumber:
    """Rows by a number in their key, which does not depend on the other rows."""

    declared: OrderedSplit

    def partitions(self, roles: Sequence[Role]) -> None:
        """Needs all partitions."""

    def mask(self, frame: "pd.DataFrame", roles: Sequence[Role]) -> "np.ndarray":
        """Marks rows by where their number stands: train, validation, test."""
        import numpy as np

        place = frame[self.declared.column].to_numpy()
        bounds = np.digitize(place, [self.declared.validation_from, self.declared.test_from])
        marked: np.ndarray = np.isin(bounds, [ROLES.index(role) for role in roles])
        return marked

    def facts(self) -> dict[str, Any]:
        """Names column and bounds."""
        return self.declared.model_dump()
