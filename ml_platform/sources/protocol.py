"""Declares the `Source` protocol, which tables and source classes of plugins implement."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ml_platform.errors import DataError
from ml_platform.plugins import added, load
from ml_platform.schema import Schema
from ml_platform.sources.partitions import Partitions
from ml_platform.sources.tables import TableSource

if TYPE_CHECKING:
    import pandas as pd

_GROUP = "ml_platform.sources"


class Source(Protocol):
    """What pipelines ask of a source; a class of another distribution is a dataclass that has all of it.

    Attributes:
        name: what pipelines' plans call it.
        asset: the asset that holds the data, such as `lake/flights`.
        description: what is read, for people.
        grain: what one row is, for people.
        key: columns that identify a row; frames come sorted by them.
        schema: the columns of the frames that `read` gives.
        partitions: the spans that the data are cut into, None if they are read whole.
        rows: about how many rows to keep, evenly spaced; None: all of them.
    """

    @property
    def name(self) -> str: ...  # noqa: D102  (above)

    @property
    def asset(self) -> str: ...  # noqa: D102

    @property
    def description(self) -> str: ...  # noqa: D102

    @property
    def grain(self) -> str: ...  # noqa: D102

    @property
    def key(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def schema(self) -> Schema: ...  # noqa: D102

    @property
    def partitions(self) -> Partitions | None: ...  # noqa: D102

    @property
    def rows(self) -> int | None: ...  # noqa: D102

    @property
    def content_hash(self) -> str:
        """Hash of what there is to read now; the data are read again when it changes."""

    def declaration(self) -> dict[str, Any]:
        """Returns as plain JSON values all that decides what comes out, but for what is read."""

    def read(self, partitions: Sequence[str | None]) -> dict[str | None, "pd.DataFrame"]:
        """Reads partitions, `[None]` for the whole; refuses what breaks the schema with a `DataError`."""


def require_source(found: Any, who: str) -> None:
    """Refuses what is no source.

    Raises:
        DataError: names what it is, and the kinds of sources that there are.
    """
    kinds = [TableSource, *(load(_GROUP, name) for name in added(_GROUP))]
    if not isinstance(found, tuple(kinds)):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise DataError(f"{who} is a {type(found).__name__}, expected a {names}")
