"""Refuses skops files that would decompress to far more memory than their size (zip bombs)."""

import io
import json
import zipfile
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from ml_platform.artifacts.limits import SMALL_BYTES, most_unpacked, refuse_unpacked
from ml_platform.errors import ArtifactError, first_few

SCHEMA = "schema.json"
_SMALL_SCHEMA_BYTES = SMALL_BYTES // 16  # as Python's values a text takes up to 24 times its size
_ENDINGS = (".npy", ".npz", ".bin")  # what skops writes beside its schema


def refuse_bombs(content: bytes, label: str) -> None:
    """Refuses a skops file that would take much more memory than files of its size do, before it is unpacked.

    Raises:
        ArtifactError: members that are none of skops', that are named twice or unpack to too much; parts that say that
            they are one and are not.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        # The directory at the end of a zip says the sizes. zipfile stops reading a member there, so a lie cannot unpack
        # to more.
        sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        _require_members(archive, label)
        refuse_unpacked(sum(sizes.values()), len(content), label)
        # Parsed JSON takes much more than its text, so the schema has a smaller limit of its own.
        if sizes[SCHEMA] > max(_SMALL_SCHEMA_BYTES, most_unpacked(len(content)) - SMALL_BYTES):
            raise ArtifactError(f"{label}: {SCHEMA} would unpack to {sizes[SCHEMA]:,} bytes, of {len(content):,}")
        for name in sizes:
            sizes[name] += _nested_bytes(archive, name)
        schema = json.loads(archive.read(SCHEMA))
        parts = _Parts({entry.filename: (entry.CRC, sizes[entry.filename]) for entry in archive.infolist()}, label)
        parts.fingerprint(schema)
    refuse_unpacked(parts.bytes, len(content), label)


def _require_members(archive: zipfile.ZipFile, label: str) -> None:
    names = archive.namelist()
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    strange = [
        name for name in names if name != SCHEMA and (not name.endswith(_ENDINGS) or "/" in name or "\\" in name)
    ]
    if twice or strange or SCHEMA not in names:
        found = first_few([f"{name!r:.80}" for name in twice or strange or names])
        raise ArtifactError(f"{label}: expected {SCHEMA} and files of {', '.join(_ENDINGS)}, each once, found {found}")


def _nested_bytes(archive: zipfile.ZipFile, name: str) -> int:
    """Returns how many bytes a member that is an archive itself would unpack to."""
    if not name.endswith(".npz"):
        return 0
    with archive.open(name) as member, zipfile.ZipFile(member) as nested:
        return sum(entry.file_size for entry in nested.infolist())


class _Parts:
    """The parts of one object, by what they hold.

    skops reads a part that has an id once and takes it wherever the id stands, whatever else stands there. It writes a
    part out wherever it stands, so in its own files both are the same; in others, few bytes would become many.

    Attributes:
        bytes: what all files take that parts name, each as often as it is named.
    """

    def __init__(self, files: Mapping[str, tuple[int, int]], label: str):
        self._files = files
        self._label = label
        self._seen: dict[Any, bytes] = {}
        self.bytes = 0

    def fingerprint(self, part: Any) -> bytes:
        """Returns a digest of a part's content, its ids and the names of its files left out.

        Raises:
            ArtifactError: two parts of one id that differ.
        """
        digest = blake2b(digest_size=16)
        if isinstance(part, dict):
            digest.update(b"{")
            for key, value in part.items():
                if key != "__id__":
                    # The length first, so that no two pairs of keys and values run together to equal bytes.
                    digest.update(f"{len(key)}:{key}".encode())
                    digest.update(self._of_file(value) if key == "file" else self.fingerprint(value))
            self._remember(part.get("__id__"), digest.digest())
        elif isinstance(part, list):
            digest.update(b"[")
            for value in part:
                digest.update(self.fingerprint(value))
        else:
            digest.update(repr(part).encode("utf-8", "surrogatepass"))
        return digest.digest()

    def _of_file(self, name: Any) -> bytes:
        # CRC and size stand for a file's content: hashing it would unpack it, which is what must not happen yet.
        checksum, size = self._files.get(name, (0, 0)) if isinstance(name, str) else (0, 0)
        self.bytes += size
        return blake2b(f"{checksum}:{size}".encode(), digest_size=16).digest()

    def _remember(self, number: Any, digest: bytes) -> None:
        if isinstance(number, list | dict):
            raise ArtifactError(f"{self._label}: expected a number for a part's id, found {number!r:.80}")
        # Equal content under one id is counted once by skops' memo; different content would be read once and used for
        # both.
        if number is not None and self._seen.setdefault(number, digest) != digest:
            raise ArtifactError(
                f"{self._label}: expected all parts of id {number!r:.80} to be one, found that they differ"
            )
