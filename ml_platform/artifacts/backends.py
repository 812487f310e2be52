"""How do bytes get somewhere at once or not at all? One class for folders, one for object stores."""

import hashlib
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from ml_platform.artifacts.manifests import MOST_BYTES
from ml_platform.errors import ArtifactError


class Backend(Protocol):
    """What the store needs of a place: whole folders and small files, published atomically."""

    def staging(self) -> Any:
        """Opens a local folder to write into; it is gone afterwards unless published."""

    def publish_folder(self, staged: Path, key: str) -> None:
        """Makes a staged folder's files visible under `key`, durably."""

    def write(self, key: str, content: bytes) -> None:
        """Writes one small file at once, over what is there."""

    def create(self, key: str, content: bytes) -> bool:
        """Writes one small file at once if there is none of its name; says whether it did."""

    def remove(self, key: str) -> None:
        """Removes one small file, if it is there."""

    def sizes(self, key: str) -> dict[str, int]:
        """Gives the sizes in bytes of the files that are published under `key`."""

    def read(self, key: str) -> bytes | None:
        """Reads one small file, None if there is none."""

    def names(self, prefix: str) -> list[str]:
        """Lists the names of the files right under a prefix."""

    def local_folder(self, key: str, names: Iterable[str]) -> Path:
        """Gives a local folder that holds these files of `key`."""

    def forget(self, key: str) -> bool:
        """Drops what is cached of `key`; says whether reading again may help."""


def sha256_of(path: Path) -> str:
    """Hashes a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class LocalBackend:
    """A folder on this machine: fsync, then one rename."""

    def __init__(self, base: str):
        self.base = Path(base)

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Opens a staging folder named after this process, and sweeps those of dead ones."""
        root = self.base / "staging"
        root.mkdir(parents=True, exist_ok=True)
        _sweep_dead(root)
        folder = root / f"{os.getpid()}-{uuid.uuid4().hex}"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish_folder(self, staged: Path, key: str) -> None:
        """Renames the staged folder into place; what stands there already is kept only if it is equal."""
        for path in staged.iterdir():
            _fsync(path)
        _fsync(staged)
        target = self.base / key
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not _equal_folders(staged, target):
            target.rename(staged.with_name(staged.name + "-damaged"))
        try:
            staged.rename(target)
        except OSError:
            # Another writer published the same content first: folders are named by what is in them.
            if not target.exists():
                raise
        _fsync(target.parent)

    def write(self, key: str, content: bytes) -> None:
        """Writes beside the target, then renames over it."""
        with self._beside(key, content) as beside:
            beside.rename(self.base / key)
        _fsync((self.base / key).parent)

    def create(self, key: str, content: bytes) -> bool:
        """Writes beside the target, then links it there, which fails if another was first."""
        target = self.base / key
        if target.exists():
            return False
        with self._beside(key, content) as beside:
            try:
                os.link(beside, target)
            except FileExistsError:
                return False
        _fsync(target.parent)
        return True

    @contextmanager
    def _beside(self, key: str, content: bytes) -> Iterator[Path]:
        target = self.base / key
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.{os.getpid()}-{uuid.uuid4().hex}")
        try:
            beside.write_bytes(content)
            _fsync(beside)
            yield beside
        finally:
            beside.unlink(missing_ok=True)

    def remove(self, key: str) -> None:
        """Removes a file."""
        (self.base / key).unlink(missing_ok=True)

    def sizes(self, key: str) -> dict[str, int]:
        """Lists a folder's files."""
        folder = self.base / key
        return {entry.name: entry.stat().st_size for entry in os.scandir(folder)} if folder.is_dir() else {}

    def read(self, key: str) -> bytes | None:
        """Reads a file under the base; of one that is too large for a manifest, enough to see it."""
        path = self.base / key
        if os.path.lexists(path) and not path.is_file():
            raise ArtifactError(f"{path}: expected a file, found something else; remove it")
        try:
            with path.open("rb") as file:
                return file.read(MOST_BYTES + 1)
        except FileNotFoundError:
            return None

    def names(self, prefix: str) -> list[str]:
        """Lists files; those still being written start with a dot and are not shown."""
        folder = self.base / prefix
        if not folder.is_dir():
            return []
        return sorted(entry.name for entry in os.scandir(folder) if entry.is_file() and entry.name[0] != ".")

    def local_folder(self, key: str, names: Iterable[str]) -> Path:
        """Gives the folder itself."""
        return self.base / key

    def forget(self, key: str) -> bool:
        """Caches nothing."""
        return False


class ObjectBackend:
    """Any fsspec file system without renames (S3): objects first, then one put that makes them reachable."""

    def __init__(self, base: str, **options: Any):
        import fsspec

        self._fs, self._root = fsspec.core.url_to_fs(base, use_listings_cache=False, **options)
        name = hashlib.sha256(base.encode()).hexdigest()[:16]
        self._cache = Path(tempfile.gettempdir()) / f"ml_platform-artifacts-{os.getuid()}" / name

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Opens a temporary folder on this machine."""
        with tempfile.TemporaryDirectory(prefix="ml_platform-staging-") as folder:
            yield Path(folder)

    def publish_folder(self, staged: Path, key: str) -> None:
        """Uploads the files; nothing points at them yet."""
        for path in sorted(staged.iterdir()):
            self._fs.put_file(str(path), self._path(f"{key}/{path.name}"))

    def write(self, key: str, content: bytes) -> None:
        """Puts one object."""
        self._fs.pipe_file(self._path(key), content, mode="overwrite")

    def create(self, key: str, content: bytes) -> bool:
        """Puts one object on the condition that there is none."""
        try:
            self._fs.pipe_file(self._path(key), content, mode="create")
        except FileExistsError:
            return False
        return True

    def remove(self, key: str) -> None:
        """Removes an object."""
        if self._fs.exists(self._path(key)):
            self._fs.rm_file(self._path(key))

    def sizes(self, key: str) -> dict[str, int]:
        """Lists objects, in one call."""
        return {entry["name"].rsplit("/", 1)[1]: entry["size"] for entry in self._entries(key)}

    def read(self, key: str) -> bytes | None:
        """Reads one object."""
        try:
            content: bytes = self._fs.cat_file(self._path(key), end=MOST_BYTES + 1)
        except FileNotFoundError:
            return None
        return content

    def names(self, prefix: str) -> list[str]:
        """Lists objects right under a prefix."""
        return sorted(entry["name"].rsplit("/", 1)[1] for entry in self._entries(prefix))

    def _entries(self, prefix: str) -> list[dict[str, Any]]:
        try:
            found = self._fs.ls(self._path(prefix), detail=True)
        except FileNotFoundError:
            return []
        return [entry for entry in found if entry["type"] == "file"]

    def local_folder(self, key: str, names: Iterable[str]) -> Path:
        """Downloads the files into a cache; the store verifies them."""
        folder = self._cache / key
        _make_private(self._cache.parent)
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            self._download(f"{key}/{name}", folder / name)
        return folder

    def forget(self, key: str) -> bool:
        """Removes the downloaded files."""
        shutil.rmtree(self._cache / key, ignore_errors=True)
        return True

    def _download(self, key: str, target: Path) -> None:
        if target.exists():
            return
        beside = target.with_name(f".{target.name}.{os.getpid()}-{uuid.uuid4().hex}")
        self._fs.get_file(self._path(key), str(beside))
        beside.rename(target)


def open_backend(base: str, **options: Any) -> Backend:
    """Chooses by the base's scheme: `s3://bucket/path` is an object store, a plain path a folder."""
    return ObjectBackend(base, **options) if "://" in base else LocalBackend(base)


def _make_private(folder: Path) -> None:
    """Makes a folder that nobody else may write into: what lies there is verified once and then believed."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.getuid() or not stat.S_ISDIR(status.st_mode) or status.st_mode & 0o022:
        raise ArtifactError(f"{folder}: expected a folder that you alone may write, found another; remove it")


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _equal_folders(one: Path, other: Path) -> bool:
    names = sorted(path.name for path in one.iterdir())
    if names != sorted(path.name for path in other.iterdir()):
        return False
    return all(sha256_of(one / name) == sha256_of(other / name) for name in names)


def _sweep_dead(staging: Path) -> None:
    """Removes what killed writers of this machine left behind; no reader ever looks here."""
    for folder in staging.iterdir():
        owner = folder.name.split("-")[0]
        if owner.isdigit() and not is_alive(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def is_alive(process_id: int) -> bool:
    """Says whether a process of this machine is there."""
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
