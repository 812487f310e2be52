"""Names what a store needs of the place where it lies, be it a folder or a bucket."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ml_platform.artifacts.staging import Staged


@dataclass(frozen=True)
class Entry:
    """A file as it is listed.

    Attributes:
        used: when it was written, or somebody last said that it is relied on; seconds since the epoch.
    """

    key: str
    size_bytes: int
    used: float


class Backend(Protocol):
    """What the store needs of a place: whole folders and small files, published atomically.

    Attributes:
        waits_seconds: how long what is condemned waits before it may be removed; 0 where a lock tells.
    """

    waits_seconds: float

    def staging(self) -> AbstractContextManager[Path]:
        """Opens a local folder to write into; it is gone afterwards unless published."""

    def relying(self) -> AbstractContextManager[None]:
        """Keeps sweeps from removing anything, where the place has a lock."""

    def publish_folder(self, staged: Path, key: str) -> None:
        """Makes a staged folder's files visible under `key`, durably."""

    def write(self, key: str, content: bytes) -> None:
        """Writes one small file at once, over what is there."""

    def create(self, key: str, content: bytes) -> bool:
        """Writes one small file at once if there is none of its name; says whether it did."""

    def keep(self, key: str, content: bytes) -> None:
        """Has a small file that is named by its content be there, whole, and as used now."""

    def remove(self, key: str) -> None:
        """Removes one small file, if it is there."""

    def sizes(self, key: str) -> dict[str, int]:
        """Gives the sizes in bytes of the files that are published under `key`."""

    def hold(self, key: str, by: str | None = None) -> dict[str, int]:
        """Gives the same, and says that somebody relies on them, and on the file that they were found by."""

    def read(self, key: str) -> bytes | None:
        """Reads one small file, None if there is none."""

    def read_all(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Reads those of many small files that are there."""

    def names(self, prefix: str) -> list[str]:
        """Lists the names of the files right under a prefix."""

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """Lists all files below a prefix, staging left out."""

    def discard(self, before: Mapping[str, float]) -> Iterator[str]:
        """Removes files and values by their keys, except those that were used since a moment; gives the keys."""

    def staged(self) -> list[Staged]:
        """Lists the folders that are or were being written."""

    def sweep(self) -> list[Staged]:
        """Removes what killed writers left; tells what there was."""

    def local_folder(self, key: str, names: Iterable[str]) -> Path:
        """Gives a local folder that holds these files of `key`."""

    def forget(self, key: str) -> bool:
        """Drops what is cached of `key`; says whether reading again may help."""


def sha256_of(path: Path) -> str:
    """Hashes a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
