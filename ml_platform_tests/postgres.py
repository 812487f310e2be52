"""A PostgreSQL server of the tests' own, on the loopback, that can be cut off and come back."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from ml_platform_tests.needed import leave_out
from ml_platform_tests.servers import PATIENT_SECONDS, free_port

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "16MB",
    "max_wal_size": "128MB",  # it lies in memory, once for each worker
    "fsync": "off",  # a killed server's writes survive; only a machine's fall would lose them
    "dynamic_shared_memory_type": "mmap",  # in the data's folder: whatever happens, nothing lies about elsewhere
}


def binaries() -> Path | None:
    """The folder of `initdb` and `postgres`: Debian's newest, else the one on PATH."""
    installed = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if installed:
        return max(installed, key=lambda folder: float(folder.parent.name))
    on_path = shutil.which("postgres")
    return Path(on_path).resolve().parent if on_path else None


class Postgres:
    """A server and its data, which end with it; its log lies in a folder."""

    def __init__(self, folder: Path) -> None:
        found = binaries()
        assert found is not None, "PostgreSQL is missing"
        # Not below pytest's own folder: any pytest that starts, such as those of the mutants, closes that to others.
        self.place = Path(tempfile.mkdtemp(prefix="postgres-")).resolve()
        self.data, self.log = self.place / "data", folder / "postgres.log"
        self.port = free_port()
        self._binaries = found
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.data.mkdir(mode=0o700)
        if user := _unprivileged():
            os.chown(self.data, user.pw_uid, user.pw_gid)
        try:
            self._make()
            self.restart()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        shutil.rmtree(self.place)

    def url(self, database: str) -> str:
        """Where a database is, for SQLAlchemy."""
        return f"postgresql+psycopg2://postgres@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str) -> None:
        """Creates an empty database."""
        self._execute(f'CREATE DATABASE "{name}"')

    def storage_yaml(self, database: str, *, is_stock: bool = False) -> dict[str, Any]:
        """What `dagster.yaml` says under `storage` so that an instance lies in the database."""
        config = {"postgres_url": self.url(database)}
        if is_stock:
            return {"postgres": config}
        return {"custom": {"module": "ml_platform.storages.postgres", "class": "KeptPostgresStorage", "config": config}}

    def cut(self) -> None:
        """Ends every connection in the middle of whatever it does, and takes no new one."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)  # `immediate`: its children go with it
            self._process.wait(30)
            self._process = None

    def restart(self, timeout_seconds: float = PATIENT_SECONDS) -> None:
        """Starts on the same port with the same data, and waits until it answers."""
        assert self._process is None, "it runs"
        settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
        command = [str(self._binaries / "postgres"), "-D", str(self.data), "-p", str(self.port), *settings]
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, **self._as_unprivileged()
            )
        deadline = time.monotonic() + timeout_seconds
        while not self._answers():
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, f"no answer within {timeout_seconds} s:\n{self.log.read_text()}"
            time.sleep(0.02)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def ended_by_itself(self) -> str:
        """Says what is known of an end that nobody asked for."""
        status, self._process = self._process and self._process.returncode, None
        return f"the tests' PostgreSQL ended with status {status}:\n{self.log.read_text()[-2000:]}"

    def _make(self) -> None:
        command = [str(self._binaries / "initdb"), "-D", str(self.data), "--username=postgres", "--auth=trust"]
        command += ["--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        made = subprocess.run(command, capture_output=True, text=True, check=False, **self._as_unprivileged())
        assert made.returncode == 0, made.stderr

    def _answers(self) -> bool:
        try:
            self._execute("SELECT 1")
        except OperationalError:
            return False
        return True

    def _execute(self, statement: str) -> None:
        engine = create_engine(self.url("postgres"), poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))

    def _as_unprivileged(self) -> dict[str, Any]:
        """How its programs are started: they refuse to run as root, and must reach their folder."""
        user = _unprivileged()
        if user is None:
            return {"cwd": self.place}
        base = Path(tempfile.gettempdir()).resolve()
        for folder in (self.place, *self.place.parents):
            if folder.is_relative_to(base):
                folder.chmod(folder.stat().st_mode | 0o001)
        return {"cwd": self.place, "user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _unprivileged() -> pwd.struct_passwd | None:
    """For root, the user that Debian's package creates, else nobody; for others themselves, so none."""
    if os.getuid() != 0:
        return None
    users = {user.pw_name: user for user in pwd.getpwall()}
    return users.get("postgres") or users["nobody"]


@pytest.fixture(scope="session")
def _session_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A server for each worker; `make test` installs Debian's where it may."""
    if binaries() is None:
        leave_out("PostgreSQL is missing; as root: apt-get install postgresql")
    with Postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="module")
def postgres_server(_session_server: Postgres) -> Postgres:
    """A running server; if another test brought it down, that is said once and is no reason for the rest to fail."""
    if not _session_server.is_running:
        warnings.warn(_session_server.ended_by_itself(), stacklevel=1)
        _session_server.restart()
    return _session_server
