"""Interfaces of splits: the method that a pipeline declares, and the split of one run."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from ml_platform.errors import DataError, Place
from ml_platform.sources import Partitions

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

Role = Literal["train", "validation", "test"]
ROLES: tuple[Role, ...] = ("train", "validation", "test")


class Split(Protocol):
    """The split of one run: it gives every row its role."""

    def partitions(self, roles: Sequence[Role]) -> list[str] | None:
        """Lists the partitions that hold rows of these roles; None for all there are."""

    def mask(self, frame: "pd.DataFrame", roles: Sequence[Role]) -> "np.ndarray | None":
        """Marks the rows of these roles within those partitions; None for all of them."""

    def facts(self) -> dict[str, Any]:
        """Describes the split as plain JSON values. Equal facts, equal roles: they are a part of cache keys."""


class SplitMethod(BaseModel, ABC):
    """A way to split rows, as a pipeline declares it below `split`.

    A subclass in a module of its own, with a line in `registry.py`, is all that another method needs. A row's role
    must not depend on which other rows are there: late rows would move others from training to test.

    Attributes:
        needs_partitions: whether it goes by the partitions of the sources.
        takes_as_of: whether a run may choose another `as_of` than the declared one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    needs_partitions: ClassVar[bool] = False
    takes_as_of: ClassVar[bool] = False
    method: str

    def problems(self, key: Sequence[str]) -> Iterator[tuple[Place, str]]:
        """Finds what keeps it from splitting rows with this key: a place below `split`, and a sentence."""
        yield from ()

    @abstractmethod
    def resolve(self, key: Sequence[str], spans: Partitions | None, newest: str | None, as_of: str) -> Split:
        """Turns the declaration into the split of one run.

        Args:
            key: the columns that identify a row of the frames to split.
            spans: the partitions of those frames, None if they have none.
            newest: the newest partition common to the sources, None if there is none.
            as_of: rows before this day, such as `2013-10-01`; `latest` takes what is declared.

        Raises:
            DataError: no partition at all, or too few to train on.
        """


def resolve_split(
    pipeline: str, method: SplitMethod, key: Sequence[str], spans: Partitions | None, newest: str | None, as_of: str
) -> Split:
    """Resolves a pipeline's declared split for one run; the arguments are those of `SplitMethod.resolve`.

    Raises:
        DataError: names the pipeline and what to do.
    """
    if as_of != "latest" and not method.takes_as_of:
        raise DataError(f"{pipeline}: as_of {as_of!r} has no meaning for a split that is {method.method}; leave it out")
    if spans is None and method.needs_partitions:
        raise DataError(f"{pipeline}: a split by {method.method} needs partitioned sources; use a random split")
    try:
        return method.resolve(key, spans, newest, as_of)
    except DataError as error:
        raise DataError(f"{pipeline}: {error}") from error
