"""Keeps a store in a folder, on this machine or shared by several; a file appears by fsync and one rename.

Who relies on what is there, a writer that reuses it or makes it current, holds `lock` shared meanwhile and sets the
time of what it relies on; who removes holds it alone, and leaves what was used since it looked.
"""

import fcntl
import os
import stat
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from ml_platform.artifacts.backend_protocol import Entry, sha256_of
from ml_platform.artifacts.manifests import MOST_BYTES
from ml_platform.artifacts.staging import DAMAGED, Staged, staged_in, staging_in, sweep
from ml_platform.errors import ArtifactError

LOCK = "lock"
STAGING = "staging"


class LocalBackend:
    """A store in a folder."""

    waits_seconds = 0.0

    def __init__(self, base: str):
        self.base = Path(base)

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Opens a staging folder that is held by a lock, and sweeps those that nobody holds."""
        with staging_in(self.base / STAGING) as folder:
            yield folder

    @contextmanager
    def relying(self) -> Iterator[None]:
        """Holds the store's lock, shared with other writers, so that no sweep removes anything meanwhile."""
        with self._locked(fcntl.LOCK_SH):
            yield

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        descriptor = self._open_lock()
        # A reader without the right to write needs no lock: it can neither publish nor remove. A sweep must have it.
        if descriptor is None and how == fcntl.LOCK_EX:
            raise ArtifactError(f"{self.base / LOCK}: cannot be opened; run this as the user whose store it is")
        if descriptor is None:
            yield
            return
        try:
            fcntl.flock(descriptor, how)
            yield
        finally:
            os.close(descriptor)

    def _open_lock(self) -> int | None:
        # A lock file of another user may be open to reading alone, which is enough for flock.
        for flags in (os.O_RDWR | os.O_CREAT, os.O_RDONLY):
            with suppress(OSError):
                return os.open(self.base / LOCK, flags, 0o666)
        return None

    def publish_folder(self, staged: Path, key: str) -> None:
        """Renames the staged folder into place; what stands there already is kept only if it is equal."""
        for path in staged.iterdir():
            # Contents reach the disk before the name does: after a power cut a folder in place is whole.
            _fsync(path)
        _fsync(staged)
        target = self.base / key
        target.parent.mkdir(parents=True, exist_ok=True)
        with self.relying():
            # Folders are named by their content, so one that differs is damaged: a disk or a hand changed it. It is
            # kept aside until the staging folder is swept.
            if target.exists() and not _equal_folders(staged, target):
                target.rename(staged.with_name(staged.name + DAMAGED))
            try:
                staged.rename(target)
            except OSError:
                # Another writer published the same content first: folders are named by what is in them.
                if not target.exists():
                    raise
            # Still under the lock: equal bytes that were there may be old, and a sweep must see that they are needed
            # again.
            self.hold(key)
        _fsync(target.parent)

    def write(self, key: str, content: bytes) -> None:
        """Writes beside the target, then renames over it."""
        with self._beside(key, content) as beside:
            # rename replaces in one operation; readers see the former file or the new one, never a part.
            beside.rename(self.base / key)
        _fsync((self.base / key).parent)

    def create(self, key: str, content: bytes) -> bool:
        """Writes beside the target, then links it there, which fails if another was first."""
        target = self.base / key
        if target.exists():
            return False
        with self._beside(key, content) as beside:
            try:
                # link fails where the name exists, which rename does not: of two writers exactly one creates the file.
                os.link(beside, target)
            except FileExistsError:
                return False
        _fsync(target.parent)
        return True

    def keep(self, key: str, content: bytes) -> None:
        """Writes a file that is named by its content if it is not there whole, and marks it as used now."""
        with self.relying():
            if self.create(key, content):
                return
            if self.read(key) != content:
                self.write(key, content)
            else:
                _touch(self.base / key)

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
        """Returns the sizes of a folder's files by name; empty if there is no folder."""
        try:
            return {entry.name: entry.stat().st_size for entry in os.scandir(self.base / key)}
        except (FileNotFoundError, NotADirectoryError):
            return {}

    def hold(self, key: str, by: str | None = None) -> dict[str, int]:
        """Returns the same, and marks the folder as used now by the time of one of its files."""
        with self.relying():
            # The file that led here first: gone, a sweep is at this value, whose files go next.
            if by is not None and not _touch(self.base / by):
                return {}
            found = self.sizes(key)
            # One file's time is enough, as a value counts as used when the newest of its files was; one syscall instead
            # of many.
            for name in list(found)[:1]:
                _touch(self.base / key / name)
        return found

    def read(self, key: str) -> bytes | None:
        """Reads a file under the base; of one that is too large for a manifest, enough to see it."""
        path = self.base / key
        try:
            # A fifo or a device would block or never end; the folder may be one that others write into.
            if not stat.S_ISREG(path.stat().st_mode):
                raise ArtifactError(f"{path}: expected a file, found something else; remove it")
            with path.open("rb") as file:
                return file.read(MOST_BYTES + 1)
        except OSError as error:
            # A link that leads nowhere says "not found" too; taken for an absent file it would be written through.
            if path.is_symlink():  # to nothing, or to itself
                raise ArtifactError(f"{path}: expected a file, found a link; remove it") from error
            if isinstance(error, FileNotFoundError):
                return None
            raise

    def read_all(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Reads those of many files that are there."""
        found = ((key, self.read(key)) for key in keys)
        return {key: content for key, content in found if content is not None}

    def names(self, prefix: str) -> list[str]:
        """Returns the names of files, sorted; those still being written start with a dot and are left out."""
        folder = self.base / prefix
        if not folder.is_dir():
            return []
        return sorted(entry.name for entry in os.scandir(folder) if entry.is_file() and entry.name[0] != ".")

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """Lists the files below a prefix, but not the staging folder's."""
        for parent, folders, names in os.walk(self.base / prefix):
            folder = Path(parent).relative_to(self.base)
            if folder == Path():
                # Changed in place: that is how os.walk is told not to go down.
                folders[:] = [name for name in folders if name != STAGING]
            for name in names:
                with suppress(FileNotFoundError):  # what is gone meanwhile is not there
                    status = os.lstat(os.path.join(parent, name))
                    yield Entry((folder / name).as_posix(), status.st_size, status.st_mtime)

    def discard(self, before: Mapping[str, float]) -> Iterator[str]:
        """Removes files and values, each at once, except those that were used since a moment."""
        if not before:
            return
        with self.staging() as trash:
            for key, moment in before.items():
                # Held for one thing at a time, so that writers wait for a rename and not for the whole sweep.
                with self._locked(fcntl.LOCK_EX):
                    found = self._of(key)
                    if not found or max(entry.used for entry in found) >= moment:
                        continue
                    # Renamed away whole, then deleted outside of the lock: killed in between, the value is gone and
                    # never half there. Names of files end at 255 bytes.
                    (self.base / key).rename(trash / key.replace("/", "_")[-200:])
                yield key

    def _of(self, key: str) -> list[Entry]:
        path = self.base / key
        if path.is_dir() and not path.is_symlink():
            return list(self.entries(key))
        try:
            status = path.lstat()
        except FileNotFoundError:
            return []
        return [Entry(key, status.st_size, status.st_mtime)]

    def staged(self) -> list[Staged]:
        """Lists the folders that are or were being written."""
        return staged_in(self.base / STAGING)

    def sweep(self) -> list[Staged]:
        """Removes what killed writers left in the staging folder."""
        return sweep(self.base / STAGING)

    def local_folder(self, key: str, names: Iterable[str]) -> Path:
        """Returns the folder itself."""
        return self.base / key

    def forget(self, key: str) -> bool:
        """Returns False: nothing is cached, so that reading again would not help."""
        return False


def _touch(path: Path) -> bool:
    """Marks a file as used now by its time of change; returns False if it is gone.

    Raises:
        ArtifactError: it belongs to somebody else, who would remove it as unused.
    """
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ArtifactError(f"{path}: expected a file whose time may be set, found: {error.strerror}") from error
    return True


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
