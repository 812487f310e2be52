"""Reads and writes frames as Parquet, and many partitions as one dataset."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_platform.artifacts.artifact import Artifact
from ml_platform.artifacts.limits import reading, refuse_unpacked
from ml_platform.artifacts.store import ArtifactStore
from ml_platform.errors import ArtifactError, first_few
from ml_platform.schema import Schema, schema_of

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

KIND = "frame"
FILE = "data.parquet"
_FORMAT = {b"ml_platform.frame_version": b"1"}
_CODECS = {"SNAPPY", "UNCOMPRESSED"}  # what is written here; others may pack a thousand times as much into a byte


def write_frame(folder: Path, frame: "pd.DataFrame | pa.Table | pa.RecordBatchReader") -> dict[str, Any]:
    """Writes one frame as Parquet, a batch at a time, and returns its facts.

    The row index is not kept: what identifies a row is a column.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False) if isinstance(frame, pd.DataFrame) else frame
    schema = table.schema.with_metadata({**(table.schema.metadata or {}), **_FORMAT})
    rows, unpacked = 0, 0
    with pq.ParquetWriter(folder / FILE, schema) as writer:
        for batch in _batches(table):
            writer.write_batch(batch.replace_schema_metadata(schema.metadata))
            rows += batch.num_rows
            unpacked += batch.nbytes
    refuse_foreign(folder / FILE, None, "the frame")  # what could not be read again
    refuse_unpacked(unpacked, (folder / FILE).stat().st_size, "the frame")
    return {"rows": rows, "schema": schema_of(table).to_json()}


def read_frames(paths: Sequence[Path], columns: Sequence[str] | None = None) -> "pd.DataFrame":
    """Reads what `write_frame` wrote, one file after the other, as one frame with a new index.

    Raises:
        ArtifactError: a file that is none of ours, or would take much more memory than files of its size do.
    """
    import pandas as pd

    frames: list[pd.DataFrame] = []
    for path in paths:
        with reading(path, "frame", "a frame in Parquet"):
            frames.append(_read_table(path, columns).to_pandas())
    return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)


def _read_table(path: Path, columns: Sequence[str] | None) -> "pa.Table":
    """Reads texts and bytes dictionary-encoded, each once, and unpacks them when their size is known."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Before any page is read: a footer costs little, a page may unpack to gigabytes.
    schema = refuse_foreign(path, None, "frame")
    leaves = pq.read_metadata(path).schema
    # A file of a few kilobytes may hold one long text a million times. Read as a dictionary it stays small until its
    # full size is known.
    texts = [leaf.path for leaf in map(leaves.column, range(len(leaves))) if leaf.physical_type == "BYTE_ARRAY"]
    packed = pq.read_table(path, columns=columns, read_dictionary=texts)
    unpacked = sum(_unpacked_bytes(chunk) for column in packed.columns for chunk in column.chunks)
    refuse_unpacked(unpacked, path.stat().st_size, "frame")
    # pyarrow names dictionary types where the file has plain ones; the schema that was written is restored.
    return packed.cast(pa.schema([schema.field(name) for name in packed.column_names], packed.schema.metadata))


def _unpacked_bytes(array: "pa.Array") -> int:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_nested(array.type):
        is_struct, is_map = pa.types.is_struct(array.type), pa.types.is_map(array.type)
        inner = array.flatten() if is_struct else [array.keys, array.items] if is_map else [array.flatten()]
        # 8 bytes for the offset of each value, as the widest lists have it.
        return 8 * len(array) + sum(map(_unpacked_bytes, inner))
    if not pa.types.is_dictionary(array.type) or pa.types.is_primitive(array.type.value_type):
        return int(array.nbytes)
    # The length of each text times how often it stands, in 64 bits, as the sum of 32-bit lengths overflows.
    lengths = pc.binary_length(array.dictionary).take(array.indices)
    return pc.sum(pc.cast(lengths, pa.int64())).as_py() or 0


def refuse_foreign(path: Path, facts: Mapping[str, Any] | None, label: str) -> "pa.Schema":
    """Refuses, by its footer, a file that `write_frame` did not write or that differs from its manifest.

    Args:
        facts: what `write_frame` gave; None: do not compare.

    Returns:
        The file's schema.
    """
    import pyarrow.parquet as pq

    footer = pq.read_metadata(path)
    schema = footer.schema.to_arrow_schema()
    found = {name: (schema.metadata or {}).get(name) for name in _FORMAT}
    if found != _FORMAT:
        raise ArtifactError(f"{label}: expected a frame of format {_FORMAT}, found {found}")
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    chunks = [group.column(number) for group in groups for number in range(group.num_columns)]
    codecs = {chunk.compression for chunk in chunks}
    if not codecs <= _CODECS:
        raise ArtifactError(f"{label}: expected the compression {sorted(_CODECS)}, found {sorted(codecs)}")
    # The footer says the number of rows twice, and a made-up one need not agree with itself; the larger one is what a
    # reader may allocate.
    rows = max(footer.num_rows, sum(group.num_rows for group in groups))
    values = sum(chunk.num_values for chunk in chunks)
    refuse_unpacked(max(values, rows * sum(map(_least_bytes, schema))), path.stat().st_size, label)
    told = {"rows": rows, "schema": schema_of(schema.empty_table()).to_json()}
    if facts is not None and any(facts.get(name) != value for name, value in told.items()):
        raise ArtifactError(f"{label}: expected {_short(facts)} as the manifest says, found {_short(told)}")
    return schema


def _least_bytes(field: "pa.Field") -> int:
    """Returns the bytes that a value of a column takes at least, without the contents of a text or a list."""
    try:
        return max(1, int(field.type.bit_width) // 8)
    except ValueError:
        return 4


def _short(facts: Mapping[str, Any]) -> str:
    return f"{facts.get('rows')!r:.30} rows of {facts.get('schema')!r:.200}"


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
        """Returns the current versions; of a partitioned asset those of `partitions` that exist."""
        keys: Iterable[str | None] = [None] if partitions is None else partitions
        found = {key: store.current(asset, key) for key in keys}
        parts = {key: part for key, part in found.items() if part is not None}
        # A gap is a missing partition before one that is there: ends of a range that were not made yet are none.
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
        if part is None:
            return []
        try:
            return Schema.from_json(part.facts["schema"]).names
        except (KeyError, TypeError, ValueError) as error:
            told = f"expected a schema in its manifest {part.id}, found {part.facts.get('schema')!r:.80}"
            raise ArtifactError(f"{part.label}: {told}; materialize it again") from error

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
        """Returns some partitions; None takes all, and refuses gaps."""
        keys = [*self.parts, *self.gaps] if partitions is None else partitions
        self.require(keys or [None])
        return Frames(self.store, self.asset, {key: self.parts[key] for key in keys})

    def path(self, partition: str | None) -> Path:
        """Returns the verified Parquet file of one partition."""
        self.require([partition])
        part = self.parts[partition]
        path = self.store.file(part, FILE)
        with reading(path, part.label, "the frame that its manifest tells of"):
            refuse_foreign(path, part.facts, part.label)
        return path

    def read(self, partition: str | None, columns: Sequence[str] | None = None) -> "pd.DataFrame":
        """Reads one partition, or some of its columns."""
        return read_frames([self.path(partition)], columns)

    def read_all(self, columns: Sequence[str] | None = None) -> "pd.DataFrame":
        """Reads all partitions, one after the other, as one frame."""
        return read_frames([self.path(key) for key in self.only(None).parts], columns)
