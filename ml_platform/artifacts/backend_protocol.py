"""Defines the interface of a store's storage backend, and the SHA-256 of a file."""

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
    """What a store asks of its backend: whole folders and small files, published atomically.

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
        """Writes one small file at once if there is none of its name; returns whether it did."""

    def keep(self, key: str, content: bytes) -> None:
        """Writes a small file that is named by its content unless it is there whole, and marks it as used now."""

    def remove(self, key: str) -> None:
        """Removes one small file, if it is there."""

    def sizes(self, key: str) -> dict[str, int]:
        """Returns the sizes in bytes of the files that are published under `key`."""

    def hold(self, key: str, by: str | None = None) -> dict[str, int]:
        """Returns the same, and marks the files as used, with the file `by` that led to them."""

    def read(self, key: str) -> bytes | None:
        """Reads one small file, None if there is none."""

    def read_all(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Reads those of many small files that are there."""

    def names(self, prefix: str) -> list[str]:
        """Returns the names of the files right under a prefix, sorted."""

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """Lists all files below a prefix, staging left out."""

    def discard(self, before: Mapping[str, float]) -> Iterator[str]:
        """Removes files and values by key, unless used since the time given with each; yields the keys removed."""

    def staged(self) -> list[Staged]:
        """Lists the folders that are or were being written."""

    def sweep(self) -> list[Staged]:
        """Removes what killed writers left; returns what there was."""

    def local_folder(self, key: str, names: Iterable[str]) -> Path:
        """Returns a local folder that holds these files of `key`."""

    def forget(self, key: str) -> bool:
        """Drops what is cached of `key`; returns whether reading again may help."""


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
