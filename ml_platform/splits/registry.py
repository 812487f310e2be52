"""The methods that a pipeline may split its rows by: the one place that lists them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Discriminator, Tag

from ml_platform.splits.base import SplitMethod
from ml_platform.splits.ordered import OrderedSplit
from ml_platform.splits.random import RandomSplit
from ml_platform.splits.time import TimeSplit

METHODS: Mapping[str, type[SplitMethod]] = {"time": TimeSplit, "random": RandomSplit, "ordered": OrderedSplit}


def _method_of(declared: Any) -> str:
    """Reads the method of a declaration, by time where none is named."""
    return str(declared.get("method", "time") if isinstance(declared, dict) else getattr(declared, "method", "time"))


if TYPE_CHECKING:
    AnySplitMethod = SplitMethod
else:
    AnySplitMethod = Annotated[
        Union[tuple(Annotated[kind, Tag(name)] for name, kind in METHODS.items())],  # noqa: UP007  (from a mapping)
        Discriminator(_method_of),
    ]
