"""A process that is killed before one of its effects, by number: each moment of the protocol, none left to chance."""

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as db
from urllib3.connectionpool import HTTPConnectionPool

FOLDER = "ML_PLATFORM_TEST_FOLDER"  # the variable that says where assets and killed processes leave marks
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
