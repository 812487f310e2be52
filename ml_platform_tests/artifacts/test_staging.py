"""A folder that is being written is held by its lock, and by nothing else."""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ml_platform.artifacts.staging import staged_in, staging_in, sweep

DEAD = 2**22 + 1  # above the largest process id
NAME = "0123456789abcdef" * 2


def left(root: Path, process_id: int, *, lock: bool = True) -> Path:
    """Leaves what a writer of this number would."""
    folder = root / f"{process_id}-{NAME}"
    folder.mkdir(parents=True)
    (folder / "data.txt").write_text("half")
    if lock:
        folder.with_name(folder.name + ".lock").touch()
    return folder


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    with folder.with_name(folder.name + ".lock").open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_a_folder_named_after_a_dead_process_stays_while_it_is_locked(tmp_path: Path) -> None:
    """As another container's writer, whose number is none here."""
    folder = left(tmp_path, DEAD)
    with locked(folder):
        (found,) = sweep(tmp_path)
        assert found.is_held
        assert (folder / "data.txt").read_text() == "half"
    (found,) = sweep(tmp_path)
    assert (found.is_held, found.size_bytes) == (False, 4)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_named_after_a_live_process_goes_when_nobody_locks_it(tmp_path: Path) -> None:
    """As another container's killed writer, whose number somebody else has here."""
    left(tmp_path, os.getpid())
    with staging_in(tmp_path) as own:
        assert {path.name for path in tmp_path.iterdir()} == {own.name, own.name + ".lock"}
    assert list(tmp_path.iterdir()) == []


def test_what_was_moved_out_of_a_values_place_goes_with_the_folder(tmp_path: Path) -> None:
    folder = left(tmp_path, DEAD)
    folder.rename(folder.with_name(folder.name + "-damaged"))
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_locks_file_goes_after_a_day(tmp_path: Path) -> None:
    """A writer of an older version may be at it."""
    folder = left(tmp_path, DEAD, lock=False)
    assert [one.is_held for one in sweep(tmp_path)] == [True]
    yesterday = time.time() - 90_000
    os.utime(folder, (yesterday, yesterday))
    assert [one.is_held for one in staged_in(tmp_path)] == [False]
    assert folder.exists()
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_a_writers_stays(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "12-readme.txt").touch()
    assert sweep(tmp_path) == []
    assert {path.name for path in tmp_path.iterdir()} == {"notes", "12-readme.txt"}


WRITERS = """
import sys, time
from pathlib import Path
from ml_platform.artifacts.staging import staging_in
root, until = Path(sys.argv[1]), time.monotonic() + float(sys.argv[2])
count = 0
while time.monotonic() < until:
    with staging_in(root) as folder:
        (folder / "data.txt").write_text("whole")
        time.sleep(0.001)
        assert (folder / "data.txt").read_text() == "whole"
    count += 1
print(count)
"""


def test_writers_that_start_while_others_sweep_keep_their_folders(tmp_path: Path) -> None:
    """Between making the lock's file and locking it, another may take it."""
    command = [sys.executable, "-c", WRITERS, str(tmp_path), "1.5"]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]
    while any(writer.poll() is None for writer in writers):
        sweep(tmp_path)
    for writer in writers:
        assert int(writer.communicate()[0]) > 10
        assert writer.returncode == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["folder", "lock"])
def test_a_sweep_meets_what_goes_meanwhile(tmp_path: Path, kind: str) -> None:
    folder = left(tmp_path, DEAD)
    if kind == "folder":
        (folder / "data.txt").unlink()
        folder.rmdir()
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []
