"""A process that is killed before one of its effects, by number: each moment of the protocol, none left to chance."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy as db
from dagster._core.launcher import LaunchRunContext
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from urllib3.connectionpool import HTTPConnectionPool

from ml_platform.launchers.reconcile import Reconciler
from ml_platform_tests.launchers.location import FOLDER

PROTOCOL = ("ml_platform_launches", "runs", "run_tags")  # the tables that decide what is started
_WRITES = ("INSERT", "UPDATE", "DELETE")
ORDERS, PLATFORM, NOTED = "orders", "platform", "noted"  # in the tests' folder: who is killed when, who with it
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
        if self._others is not None and self._others.exists():
            for pid in map(int, self._others.read_text().split()):
                os.kill(pid, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    def arm(self) -> None:
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


def order(folder: Path, command: str, before: int, *, everybody: bool = False) -> None:
    """Has the next pod that does this (`execute_run`, `execute_step`, `resume_run`) killed.

    Args:
        everybody: the whole platform with it: every process whose number stands in the file `platform`.
    """
    orders = folder / ORDERS
    orders.mkdir(exist_ok=True)
    (orders / command).write_text(f"{before} {int(everybody)}")


def obey(arguments: list[str]) -> None:
    """Looks for an order to this pod, and takes it."""
    folder = Path(os.environ.get(FOLDER, "/nowhere"))
    for path in (folder / ORDERS).glob("*_*"):
        if path.name in arguments:
            before, everybody = path.read_text().split()
            path.unlink()
            Crash(int(before), folder / NOTED, folder / PLATFORM if everybody == "1" else None).arm()


@dataclass(frozen=True)
class _NoWorkspace:
    """What the daemon knows of code locations: nothing, as launching needs nothing of them."""

    instance: dg.DagsterInstance

    def create_request_context(self) -> None:
        return None


def dequeue_in_child(home: str, before: int) -> None:
    """Does what the daemon does with the queue, once, in a process that may be killed."""
    Crash(before, Path(home).parent / NOTED).arm()
    with dg.DagsterInstance.from_config(home) as instance:
        list(QueuedRunCoordinatorDaemon(1).run_iteration(_NoWorkspace(instance)))  # type: ignore[arg-type]


def reconcile_in_child(home: str, before: int) -> None:
    """Does what the reconciler does, once, in a process that may be killed."""
    Crash(before, Path(home).parent / NOTED).arm()
    with dg.DagsterInstance.from_config(home) as instance:
        found = Reconciler(instance).look_once()
        assert not found.problems, found


def go_on_in_child(home: str) -> None:
    """Does what the daemon and the reconciler do, until it is killed."""
    with dg.DagsterInstance.from_config(home) as instance:
        daemon, reconciler = QueuedRunCoordinatorDaemon(1), Reconciler(instance)
        while True:
            list(daemon.run_iteration(_NoWorkspace(instance)))  # type: ignore[arg-type]
            reconciler.look_once()
            time.sleep(0.4)


def launch_in_child(home: str, run_ids: list[str], barrier: Any) -> None:
    """Launches runs, each at the moment when somebody else does."""
    with dg.DagsterInstance.from_config(home) as instance:
        for run_id in run_ids:
            run = instance.get_run_by_id(run_id)
            assert run is not None
            barrier.wait(60)
            instance.run_launcher.launch_run(LaunchRunContext(run, None))


def in_child(what: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Starts something in a process of its own, forked from a server that has imported what it needs."""
    server = multiprocessing.get_context("forkserver")
    process = server.Process(target=what, args=arguments, daemon=True)
    process.start()
    return process
