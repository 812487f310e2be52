"""How is a frame written, and how are many partitions read as one dataset?"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_platform.artifacts.store import Artifact, ArtifactStore
from ml_platform.errors import ArtifactError, first_few
from ml_platform.schema import Schema, schema_of

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

KIND = "frame"
FILE = "data.parquet"
_FORMAT = {b"ml_platform.frame_version": b"1"}


def write_frame(folder: Path, frame: "pd.DataFrame | pa.Table | pa.RecordBatchReader") -> dict[str, Any]:
    """Writes one frame as Parquet, a batch at a time, and returns its facts.

    The row index is not kept: what identifies a row is a column.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False) if isinstance(frame, pd.DataFrame) else frame
    schema = table.schema.with_metadata({**(table.schema.metadata or {}), **_FORMAT})
    rows = 0
    with pq.ParquetWriter(folder / FILE, schema) as writer:
        for batch in _batches(table):
            writer.write_batch(batch.replace_schema_metadata(schema.metadata))
            rows += batch.num_rows
    return {"rows": rows, "schema": schema_of(table).to_json()}


def read_frames(paths: Sequence[Path], columns: Sequence[str] | None = None) -> "pd.DataFrame":
    """Reads what `write_frame` wrote, one file after the other, as one frame with a new index."""
    import pandas as pd
    import pyarrow.parquet as pq

    frames: list[pd.DataFrame] = [pq.read_table(path, columns=columns).to_pandas() for path in paths]
    return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)


def _batches(table: "pa.Table | pa.RecordBatchReader") -> Iterator["pa.RecordBatch"]:
    import pyarrow as pa

    return iter(table.combine_chunks().to_batches() if isinstance(table, pa.Table) else table)


@dataclass(frozen=True)
class Frames:
    """The frames of one asset, one per partition, read when asked for.

    Attributes:
        asset: whose frames these are.
        parts: partition to artifact, in the order of the partitions; the key is None where there are none.
        gaps: partitions that are missing before the newest one.
    """

    store: ArtifactStore
    asset: str
    parts: Mapping[str | None, Artifact]
    gaps: Sequence[str] = ()

    @classmethod
    def current(cls, store: ArtifactStore, asset: str, partitions: Sequence[str] | None = None) -> "Frames":
        """Takes the current versions; of a partitioned asset those of `partitions` that exist."""
        keys: Iterable[str | None] = [None] if partitions is None else partitions
        found = {key: store.current(asset, key) for key in keys}
        parts = {key: part for key, part in found.items() if part is not None}
        newest = max((key for key in parts if key is not None), default="")
        return cls(store, asset, parts, [key for key in found if key and key < newest and key not in parts])

    @property
    def partitions(self) -> list[str]:
        """The partitions that are there, in order."""
        return [key for key in self.parts if key is not None]

    @property
    def is_partitioned(self) -> bool:
        """Whether there is one frame per partition."""
        return None not in self.parts

    @cached_property
    def columns(self) -> list[str]:
        """The columns of the first part."""
        part = next(iter(self.parts.values()), None)
        return Schema.from_json(part.facts["schema"]).names if part else []

    def require(self, partitions: Iterable[str | None]) -> None:
        """Refuses missing partitions by name.

        Raises:
            ArtifactError: with the first few that are missing.
        """
        missing = [key for key in partitions if key not in self.parts]
        if missing == [None]:
            raise ArtifactError(f"{self.asset}: nothing there; materialize it first")
        if missing:
            raise ArtifactError(f"{self.asset}: no partition {first_few(missing)}; materialize them first")

    def only(self, partitions: Sequence[str | None] | None) -> "Frames":
        """Narrows to some partitions; None takes all, without a gap."""
        keys = [*self.parts, *self.gaps] if partitions is None else partitions
        self.require(keys or [None])
        return Frames(self.store, self.asset, {key: self.parts[key] for key in keys})

    def path(self, partition: str | None) -> Path:
        """Gives the verified Parquet file of one partition."""
        self.require([partition])
        return self.store.open(self.parts[partition]) / FILE

    def read(self, partition: str | None, columns: Sequence[str] | None = None) -> "pd.DataFrame":
        """Reads one partition, or some of its columns."""
        return read_frames([self.path(partition)], columns)

    def read_all(self, columns: Sequence[str] | None = None) -> "pd.DataFrame":
        """Reads all partitions, one after the other, as one frame."""
        return read_frames([self.path(key) for key in self.only(None).parts], columns)
