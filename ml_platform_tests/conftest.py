"""What several tests share."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from ml_platform_tests.platform import Platform

collect_ignore = ["location.py"]  # a code location: it has no tests, and needs a folder to be loaded


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """A platform whose whole small year is materialized; tests must leave it as it is."""
    platform = Platform(tmp_path_factory.mktemp("made"))
    assert platform.run().success
    return platform


@pytest.fixture(scope="session")
def browser_path() -> str:
    """Debian's Chromium; `make test` installs it where it may."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None and os.environ.get("CI"):
        pytest.fail("chromium is missing; with CI set nothing may be left out")
    if path is None:
        pytest.skip("chromium is missing; as root: apt-get install chromium")
    return path


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
