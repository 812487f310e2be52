"""Bounds the memory that a stored file may decompress to, relative to its size."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ml_platform.errors import ArtifactError

SMALL_BYTES = 256 * 2**20  # what any file may unpack to
MOST_TIMES = 100  # larger ones: so many times their size; fitted objects take up to 60 times theirs, frames 15


def most_unpacked(packed_bytes: int) -> int:
    """Returns how many bytes a file of this size may take in memory."""
    return max(SMALL_BYTES, MOST_TIMES * packed_bytes)


def refuse_unpacked(unpacked_bytes: int, packed_bytes: int, label: str) -> None:
    """Refuses what unpacks to more than files of its size do.

    Raises:
        ArtifactError: with both sizes.
    """
    most = most_unpacked(packed_bytes)
    if unpacked_bytes > most:
        raise ArtifactError(
            f"{label}: {packed_bytes:,} bytes would unpack to {unpacked_bytes:,}; expected {most:,} at most"
        )


@contextmanager
def reading(path: Path, label: str, expected: str) -> Iterator[None]:
    """Turns any error while a file is read into one that names the file.

    Raises:
        ArtifactError: for every error, as files from elsewhere make libraries raise anything.
    """
    try:
        yield
    except ArtifactError as error:
        raise ArtifactError(f"{error}; in file {path}, expected {expected}") from error
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
        raise ArtifactError(f"{label}: file {path}: expected {expected}, found: {found:.300}") from error
