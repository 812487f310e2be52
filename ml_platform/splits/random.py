"""Splits rows by a hash of their key: the same row is always on the same side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from ml_platform.sources import Partitions
from ml_platform.splits.base import Role, SplitMethod

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


class RandomSplit(SplitMethod):
    """Rows by a hash of their key and a seed, in the declared shares of 1."""

    method: Literal["random"]
    validation: float = Field(gt=0, lt=1)
    test: float = Field(gt=0, lt=1)
    seed: int

    @model_validator(mode="after")
    def _leave_some_to_train(self) -> "RandomSplit":
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together leave no rows to train on: expected a sum below 1")
        return self

    def resolve(self, key: Sequence[str], spans: Partitions | None, newest: str | None, as_of: str) -> "SplitByHash":
        """Needs the key alone."""
        return SplitByHash(key, self)


@dataclass(frozen=True)
class SplitByHash:
    """Rows by a hash of their key and a seed, which does not depend on the other rows."""

    key: Sequence[str]
    declared: RandomSplit

    def partitions(self, roles: Sequence[Role]) -> None:
        """Needs all partitions."""

    def mask(self, frame: "pd.DataFrame", roles: Sequence[Role]) -> "np.ndarray":
        """Marks rows by where their key's hash falls in [0, 1): test, validation, train."""
        import numpy as np
        import pandas as pd

        # By value and stable between versions of pandas and processes, unlike Python's hash().
        hashes = pd.util.hash_pandas_object(frame[list(self.key)], index=False).to_numpy()
        # The seed is spread over 64 bits first (by 2**64 over the golden ratio), so that close seeds differ widely.
        seed = np.uint64(self.declared.seed * 0x9E3779B97F4A7C15 % 2**64)
        place = _mix(hashes ^ seed) / 2.0**64
        test, validation = self.declared.test, self.declared.test + self.declared.validation
        # Test first: another share for validation leaves the test rows as they were.
        bounds = {"test": (0.0, test), "validation": (test, validation), "train": (validation, 1.0)}
        marks = [(bounds[role][0] <= place) & (place < bounds[role][1]) for role in roles]
        marked: np.ndarray = np.logical_or.reduce(marks)
        return marked

    def facts(self) -> dict[str, Any]:
        """Names shares and seed."""
        return self.declared.model_dump()


def _mix(values: "np.ndarray") -> "np.ndarray":
    """Spreads 64-bit values evenly (the finaliser of splitmix64)."""
    import numpy as np

    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = values ^ (values >> np.uint64(31))
    return mixed
