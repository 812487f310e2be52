"""A process that is killed before one of its effects, by number: each moment of the protocol, none left to chance."""

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import sqlalchemy as db
from urllib3.connectionpool import HTTPConnectionPool

from ml_platform.compat.dagster import LaunchRunContext
from ml_platform.launchers.runs.reconciler import Reconciler
from ml_platform.launchers.runs.run_launcher import RoutingRunLauncher
from ml_platform.launchers.steps.relay import Relay
from ml_platform_tests.dagster_internals import QueuedRunCoordinatorDaemon
from ml_platform_tests.kubernetes.warm import forkserver
from ml_platform_tests.launchers import FOLDER

PROTOCOL = (
    "ml_platform_launches",
    "ml_platform_requests",
    "runs",
    "run_tags",
)  # the tables that decide what is started
_WRITES = ("INSERT", "UPDATE", "DELETE")
# In the tests' folder: who is killed when, who is about to be, who with it, what it did.
ORDERS, OBEYING, PLATFORM, NOTED = "orders", "obeying", "platform", "noted"
KILLED = "killed\n"


class Crash:
    """Kills this process, and with it others, before its effect number `before`, counted from 0.

    Args:
        noted: the file that lists the effects which it had.
    """

    def __init__(self, before: int, noted: Path, others: Path | None = None):
        self._left = before
        self._noted = noted
        self._others = others
        noted.unlink(missing_ok=True)

    def effect(self, what: str) -> None:
        """Takes note of an effect that is about to be, or ends before it."""
        if self._left > 0:
            self._left -= 1
            with self._noted.open("a") as noted:
                noted.write(f"{what}\n")
            return
        with self._noted.open("a") as noted:
            noted.write(KILLED)
        self._strike()

    def _strike(self) -> None:
        if self._others is not None and self._others.exists():
            for pid in map(int, self._others.read_text().split()):
                os.kill(pid, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    def arm(self) -> "Crash":
        """An effect: a row of the protocol that is written, a call that changes something on a cluster."""

        def before_statement(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
            kind, _, rest = statement.lstrip().partition(" ")
            if "SET heard=" in statement:
                return  # a report, whenever it is due: no step of the protocol
            if kind in _WRITES and any(
                f" {name} " in f" {rest} ".replace("(", " ").replace('"', "") for name in PROTOCOL
            ):
                self.effect(f"{kind} {rest[:60]}")

        db.event.listen(db.Engine, "before_cursor_execute", before_statement)
        open_url = HTTPConnectionPool.urlopen

        def urlopen(pool: Any, method: str, *arguments: Any, **named: Any) -> Any:
            if method in ("POST", "DELETE", "PATCH", "PUT"):
                self.effect(f"{method} {arguments[:1]}")
            return open_url(pool, method, *arguments, **named)

        HTTPConnectionPool.urlopen = urlopen  # type: ignore[method-assign]
        return self


class Cut(Crash):
    """Ends the database's server, whose number stands in the file `others`, before an effect; this process goes on."""

    def _strike(self) -> None:
        assert self._others is not None
        pid = int(self._others.read_text())
        os.kill(pid, signal.SIGQUIT)
        with suppress(ProcessLookupError):
            while True:  # until whoever keeps it has seen it
                os.kill(pid, 0)
                time.sleep(0.01)
        self._left = sys.maxsize


def order(folder: Path, command: str, before: int, whom: str = "itself") -> None:
    """Has the next pod that does this (`execute_run`, `execute_step`, `resume_run`) killed.

    Args:
        whom: `itself`, `everybody` (with it every process whose number stands in the file `platform`), or `database`.
    """
    orders = folder / ORDERS
    orders.mkdir(exist_ok=True)
    (orders / command).write_text(f"{before} {whom}")


def obey(arguments: list[str]) -> None:
    """Looks for an order to this pod, and takes it."""
    folder = Path(os.environ.get(FOLDER, "/nowhere"))
    for path in (folder / ORDERS).glob("*_*"):
        if path.name in arguments:
            before, whom = path.read_text().split()
            path.unlink()
            kind, others = (Cut if whom == "database" else Crash), None if whom == "itself" else folder / PLATFORM
            kind(int(before), folder / NOTED, others).arm()
            (folder / OBEYING).write_text(str(os.getpid()))


def is_obeyed(folder: Path) -> bool:
    """Whether a pod is on its way to the effect before which it is killed: a slow one must not be ended before that."""
    noted = folder / NOTED
    if not (folder / OBEYING).exists() or (noted.exists() and KILLED in noted.read_text()):
        return False
    with suppress(psutil.NoSuchProcess, ValueError):
        return psutil.Process(int((folder / OBEYING).read_text())).status() != psutil.STATUS_ZOMBIE
    return False


@dataclass(frozen=True)
class _NoWorkspace:
    """What the daemon knows of code locations: nothing, as launching needs nothing of them."""

    instance: dg.DagsterInstance

    def create_request_context(self) -> None:
        return None


def dequeue_in_child(home: str, before: int, kind: type[Crash] = Crash) -> None:
    """Does what the daemon does with the queue, once, in a process that may be killed."""
    kind(before, Path(home).parent / NOTED, Path(home).parent / PLATFORM if kind is Cut else None).arm()
    with dg.DagsterInstance.from_config(home) as instance:
        list(QueuedRunCoordinatorDaemon(1).run_iteration(_NoWorkspace(instance)))  # type: ignore[arg-type]


def reconcile_in_child(home: str, before: int) -> None:
    """Does what the reconciler does, once, in a process that may be killed."""
    Crash(before, Path(home).parent / NOTED).arm()
    with dg.DagsterInstance.from_config(home) as instance:
        found = Reconciler(instance).look_once()
        assert not found.problems, found


def relay_in_child(home: str, before: int) -> None:
    """Does what runs' processes ask of launchers, until it is killed."""
    Crash(before, Path(home).parent / NOTED).arm()
    with dg.DagsterInstance.from_config(home) as instance:
        relay = Relay(instance, print)
        while True:
            relay.serve()
            time.sleep(0.1)


def go_on_in_child(home: str) -> None:
    """Does what the daemon and the reconciler do, until it is killed."""
    with dg.DagsterInstance.from_config(home) as instance:
        daemon = QueuedRunCoordinatorDaemon(1)
        reconciler = Reconciler(instance) if isinstance(instance.run_launcher, RoutingRunLauncher) else None
        while True:
            list(daemon.run_iteration(_NoWorkspace(instance)))  # type: ignore[arg-type]
            if reconciler is not None and not is_obeyed(Path(home).parent):
                reconciler.look_once()
            time.sleep(0.4)


def launch_in_child(home: str, run_ids: list[str], barrier: Any) -> None:
    """Launches runs as the daemon does, each at the moment when somebody else does."""
    with dg.DagsterInstance.from_config(home) as instance:
        for run_id in run_ids:
            run = instance.get_run_by_id(run_id)
            assert run is not None
            barrier.wait(60)
            try:
                instance.run_launcher.launch_run(LaunchRunContext(run, None))
            except Exception:  # noqa: BLE001  (the daemon has whatever raises fail the run)
                now = instance.get_run_by_id(run_id)
                if now is not None and now.status is dg.DagsterRunStatus.STARTING:
                    instance.report_run_failed(now)


def in_child(what: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Starts something in a process of its own, forked from a server that has imported what it needs."""
    process = forkserver().Process(target=what, args=arguments, daemon=True)
    process.start()
    return process
