"""Makes the staging folders that writers hold by a lock, and sweeps those whose writer was killed.

`staging/NAME.lock` is locked (`flock`) before `staging/NAME` is there and until it is gone. The system lets a lock go
when the last process that holds it ends, however it ends and in whichever container it was. A process's number says
nothing: every container counts from 1.
"""

import fcntl
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

DAMAGED = "-damaged"  # what stood in a value's place, moved beside the folder that took it
_LOCK = ".lock"
_NAME = re.compile(rf"(\d+-[0-9a-f]{{32}})({DAMAGED}|{_LOCK})?")
_UNLOCKED_SECONDS = 86_400.0  # a folder without a lock's file may be that of a writer of an older version


@dataclass(frozen=True)
class Staged:
    """A folder that is, or was, being written.

    Attributes:
        started: when its writer began, in seconds since the epoch.
        is_held: whether it stays: a writer is at it, or may be.
    """

    name: str
    started: float
    size_bytes: int
    is_held: bool


@contextmanager
def staging_in(root: Path) -> Iterator[Path]:
    """Opens a folder to write into, held until it is left, and sweeps those that nobody holds."""
    root.mkdir(parents=True, exist_ok=True)
    sweep(root)
    folder = root / f"{os.getpid()}-{uuid.uuid4().hex}"
    # Locked before the folder exists: a folder without a held lock is one whose writer is gone.
    descriptor = _lock_new(folder)
    try:
        folder.mkdir()
        yield folder
    finally:
        _remove(folder)
        os.close(descriptor)


def staged_in(root: Path) -> list[Staged]:
    """Lists the folders that are or were being written, and removes none."""
    return [_look(root / name, take=False) for name in _names(root)]


def sweep(root: Path) -> list[Staged]:
    """Removes what killed writers left behind, and returns what there was; no reader ever looks here."""
    return [_look(root / name, take=True) for name in _names(root)]


def is_staged(name: str) -> bool:
    """Whether a file or folder of this name belongs to a writer."""
    return _NAME.fullmatch(name) is not None


def _names(root: Path) -> list[str]:
    found = (_NAME.fullmatch(entry.name) for entry in os.scandir(root)) if root.is_dir() else iter(())
    return sorted({match[1] for match in found if match})


def _lock_new(folder: Path) -> int:
    """Makes and locks the lock's file of a new folder; returns its descriptor."""
    path = _lock_of(folder)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Between open and flock a sweep may have held the lock and unlinked the file: this lock is then on a file that
        # nobody else opens, and the next try makes a new one.
        if _is_at(path, descriptor):
            return descriptor
        os.close(descriptor)


def _look(folder: Path, *, take: bool) -> Staged:
    """Describes a folder, with its lock held if it can be had, and then removes it if `take`."""
    started, size = _started(folder), sum(map(_size, (folder, _damaged(folder))))
    try:
        descriptor = os.open(_lock_of(folder), os.O_RDWR)
    except FileNotFoundError:
        # No lock file: of an older version, or the folder of one that was removed just now.
        is_held = time.time() - started < _UNLOCKED_SECONDS
        if take and not is_held:
            _remove(folder)
        return Staged(folder.name, started, size, is_held)
    except PermissionError:
        return Staged(folder.name, started, size, True)  # another user's
    try:
        # Not waiting: who holds it may write for hours.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if take and _is_at(_lock_of(folder), descriptor):
            _remove(folder)
    except BlockingIOError:
        return Staged(folder.name, started, size, True)
    finally:
        os.close(descriptor)
    return Staged(folder.name, started, size, False)


def _remove(folder: Path) -> None:
    """Removes a folder whose lock is held, the lock's file last: a folder is never there without it."""
    for path in (folder, _damaged(folder)):
        shutil.rmtree(path, ignore_errors=True)
    _lock_of(folder).unlink(missing_ok=True)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(folder.name + _LOCK)


def _damaged(folder: Path) -> Path:
    return folder.with_name(folder.name + DAMAGED)


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether a file that was opened is still the one of this name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _started(folder: Path) -> float:
    for path in (_lock_of(folder), folder, _damaged(folder)):
        try:
            return path.stat().st_mtime
        except FileNotFoundError:
            continue
    return time.time()  # gone meanwhile


def _size(folder: Path) -> int:
    sizes = []
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                sizes.append(os.lstat(os.path.join(parent, name)).st_size)
            except FileNotFoundError:
                continue  # gone meanwhile
    return sum(sizes)
