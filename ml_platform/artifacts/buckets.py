"""Keeps a store in a bucket of S3, which has no renames and no locks.

Objects are uploaded first; then one put makes them reachable.

What nobody needs is condemned first, and removed by a later sweep (docs/decisions/0019-retention.md).
"""

import hashlib
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ml_platform.artifacts.backend_protocol import Entry
from ml_platform.artifacts.manifests import MOST_BYTES
from ml_platform.artifacts.staging import Staged
from ml_platform.errors import ArtifactError


class ObjectBackend:
    """A store under a prefix of a bucket."""

    waits_seconds = 86_400.0  # longer than anybody takes from finding a value to naming it in a manifest of its own

    def __init__(self, base: str, **options: Any):
        import fsspec

        # Listings are never cached: another writer's objects must be seen at once, and a sweep decides by them.
        self._fs, self._root = fsspec.core.url_to_fs(base, use_listings_cache=False, **options)
        name = hashlib.sha256(base.encode()).hexdigest()[:16]
        # One cache for each base and user: digests are unique, but stores may hold different, damaged files of one
        # digest.
        self._cache = Path(tempfile.gettempdir()) / f"ml_platform-artifacts-{os.getuid()}" / name

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Opens a temporary folder on this machine."""
        with tempfile.TemporaryDirectory(prefix="ml_platform-staging-") as folder:
            yield Path(folder)

    @contextmanager
    def relying(self) -> Iterator[None]:
        """Holds nothing: there is no lock."""
        yield

    def publish_folder(self, staged: Path, key: str) -> None:
        """Uploads the files; nothing points at them yet."""
        # Uploading over equal bytes is harmless, and gives the objects a new time: a condemned one that is uploaded
        # again is spared.
        for path in sorted(staged.iterdir()):
            self._fs.put_file(str(path), self._path(f"{key}/{path.name}"))

    def write(self, key: str, content: bytes) -> None:
        """Puts one object."""
        self._fs.pipe_file(self._path(key), content, mode="overwrite")

    def create(self, key: str, content: bytes) -> bool:
        """Puts one object on the condition that there is none."""
        try:
            # `mode="create"` sends If-None-Match, so that of two writers one gets False; a look and then a put would
            # let both win.
            self._fs.pipe_file(self._path(key), content, mode="create")
        except FileExistsError:
            return False
        return True

    def remove(self, key: str) -> None:
        """Removes an object."""
        if self._fs.exists(self._path(key)):
            self._fs.rm_file(self._path(key))

    def keep(self, key: str, content: bytes) -> None:
        """Puts one object that is named by its content; putting it again marks it as used now."""
        self.write(key, content)

    def sizes(self, key: str) -> dict[str, int]:
        """Returns the sizes of objects by name, in one call."""
        return {entry["name"].rsplit("/", 1)[1]: entry["size"] for entry in self._entries(key)}

    def hold(self, key: str, by: str | None = None) -> dict[str, int]:
        """Returns the sizes of objects; it marks nothing, as who relies on them puts a manifest of its own."""
        return self.sizes(key)

    def read(self, key: str) -> bytes | None:
        """Reads one object; None if there is none."""
        try:
            # One byte more than a manifest may have: enough for the reader to see that it is too large, and no more.
            content: bytes = self._fs.cat_file(self._path(key), end=MOST_BYTES + 1)
        except FileNotFoundError:
            return None
        return content

    def read_all(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Reads objects, many at a time."""
        paths = {self._path(key): key for key in keys}
        found = self._fs.cat(list(paths), on_error="return") if paths else {}
        # `on_error="return"` hands back exceptions as values. Only absence is an answer; a timeout must not look like
        # it, or a sweep would take what is needed for missing.
        for error in found.values():
            if isinstance(error, Exception) and not isinstance(error, FileNotFoundError):
                raise error
        return {paths[path]: content for path, content in found.items() if isinstance(content, bytes)}

    def names(self, prefix: str) -> list[str]:
        """Returns the names of the objects right under a prefix, sorted."""
        return sorted(entry["name"].rsplit("/", 1)[1] for entry in self._entries(prefix))

    def _entries(self, prefix: str) -> list[dict[str, Any]]:
        try:
            found = self._fs.ls(self._path(prefix), detail=True)
        except FileNotFoundError:
            return []
        return [entry for entry in found if entry["type"] == "file"]

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """Lists the objects below a prefix, a thousand in one call."""
        root = self._path(prefix).rstrip("/")
        for path, found in self._fs.find(root, detail=True).items():
            yield Entry(path.removeprefix(f"{self._root}/"), found["size"], found["LastModified"].timestamp())

    def discard(self, before: Mapping[str, float]) -> Iterator[str]:
        """Removes files and values, each in one call, right after a look whether it was written since a moment."""
        for key, moment in before.items():
            found = list(self.entries(key))
            # Looked at again right before the call that removes: what was uploaded or put meanwhile is young, and
            # stays.
            if found and max(entry.used for entry in found) < moment:
                # All files of a value in one call, so that a sweep that is killed leaves it whole or gone, as far as S3
                # allows.
                self._fs.rm([self._path(entry.key) for entry in found])
                self.forget(key)
                yield key

    def staged(self) -> list[Staged]:
        """Returns nothing: staging is in temporary folders of the machines that write."""
        return []

    def sweep(self) -> list[Staged]:
        """Removes nothing, for the same reason."""
        return []

    def local_folder(self, key: str, names: Iterable[str]) -> Path:
        """Downloads files into a cache on this machine, where the store verifies them."""
        folder = self._cache / key
        _make_private(self._cache.parent)
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            self._download(f"{key}/{name}", folder / name)
        return folder

    def forget(self, key: str) -> bool:
        """Removes the downloaded files; returns True, as downloading them again may help."""
        shutil.rmtree(self._cache / key, ignore_errors=True)
        return True

    def _download(self, key: str, target: Path) -> None:
        if target.exists():
            return
        beside = target.with_name(f".{target.name}.{os.getpid()}-{uuid.uuid4().hex}")
        self._fs.get_file(self._path(key), str(beside))
        # Renamed only when whole: another process of this user may read the cache at any moment.
        beside.rename(target)


def _make_private(folder: Path) -> None:
    """Makes a folder that nobody else may write into: what lies there is verified once and then believed."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.getuid() or not stat.S_ISDIR(status.st_mode) or status.st_mode & 0o022:
        raise ArtifactError(f"{folder}: expected a folder that you alone may write, found another; remove it")
