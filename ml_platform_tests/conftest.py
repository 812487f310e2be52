"""What several tests share."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_platform_tests import tiers
from ml_platform_tests.needed import program
from ml_platform_tests.platform import Platform
from ml_platform_tests.postgres import _session_server, postgres_server  # noqa: F401  (fixtures)
from ml_platform_tests.repository import project_root
from ml_platform_tests.sharing import make_once

collect_ignore = ["location.py"]  # a code location: it has no tests, and needs a folder to be loaded

MEMORY = Path("/dev/shm")
ROOM_BYTES = 4 * 2**30  # the whole suite leaves less than one
OURS = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Puts what tests write into memory where there is room: a third of a run is waiting for a disk's fsync.

    With `TMPDIR` set it lies there, and stays there to be looked at.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As in the background of a script. Dagster has SIGTERM do what SIGINT does, and what tests start inherits it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "TMPDIR" in os.environ or not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < ROOM_BYTES:
        return
    config.stash[OURS] = Path(tempfile.mkdtemp(prefix="ml_platform-tests-", dir=MEMORY))
    os.environ["TMPDIR"] = str(config.stash[OURS])  # workers and processes that tests start inherit it
    tempfile.tempdir = None  # what was cached before


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keeps a module's tests on one worker, for what they share; those that take longest begin first."""
    if not config.pluginmanager.hasplugin("xdist"):
        return  # as in the tests of a mutant
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group_of(item)))
    items.sort(key=lambda item: tiers.place_of(group_of(item)))


def group_of(item: pytest.Item) -> str:
    return item.nodeid.split("::", maxsplit=1)[0]


def pytest_unconfigure(config: pytest.Config) -> None:
    if OURS in config.stash:
        del os.environ["TMPDIR"]
        tempfile.tempdir = None
        shutil.rmtree(config.stash[OURS], ignore_errors=True)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers see."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def small_year(shared: Path) -> Path:
    """A platform's folder with its whole small year, to be copied: nobody has it open."""

    def make(folder: Path) -> None:
        platform = Platform(folder)
        assert platform.run().success
        platform.instance.dispose()

    return make_once(shared / "small-year", make)


@pytest.fixture(scope="session")
def made(small_year: Path, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """A platform whose whole small year is materialized; tests must leave it as it is."""
    return Platform(shutil.copytree(small_year, tmp_path_factory.mktemp("made"), dirs_exist_ok=True))


@pytest.fixture(scope="session")
def real_year(shared: Path) -> Path:
    """A folder with the `home` that the README's command leaves, and what it `printed.json`; tests leave it as it is."""

    def make(folder: Path) -> None:
        environment = {**os.environ, "DAGSTER_HOME": str(folder / "home"), "COLUMNS": "120"}
        command = ["ml-platform", "run", "flight_delays"]
        done = subprocess.run(command, cwd=project_root(), env=environment, capture_output=True, text=True, check=False)
        (folder / "printed.json").write_text(json.dumps([done.args, done.returncode, done.stdout, done.stderr]))

    return make_once(shared / "real-year", make)


@pytest.fixture(scope="session")
def browser_path() -> str:
    """Debian's Chromium; `make test` installs it where it may."""
    return program("chromium", "chromium", "chromium-browser")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """An S3 server on the loopback."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def run_python(code: str, **environment: str) -> str:
    """Runs code in a fresh process and gives what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
