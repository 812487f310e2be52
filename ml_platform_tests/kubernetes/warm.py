"""Starts pods of the stand-in in a moment: forked from a server that has imported what it needs."""

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path

PRELOADED = (
    "ml_platform.launchers.leases.lease",
    "ml_platform.launchers.backends.kubernetes",
    "ml_platform.storages.postgres",
    "ml_platform_tests.launchers.warmed",
    "ml_platform_tests.crashes",
    "ml_platform_tests.launchers.children",
    "dagster_k8s",
    "dagster_postgres",
    "dagster._cli.api",
    "dagster._cli",
    "upath.core",
)


def forkserver() -> ForkServerContext:
    """Returns what forks processes that have imported what they need; whoever is first decides what that is."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload([__name__, *PRELOADED])
    return server


class WarmProcess:
    """A process of its own, with its own environment and folder, whose interpreter did not have to start."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], folder: Path):
        self._process = forkserver().Process(target=execute, args=(list(command), dict(env), folder), daemon=False)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid
        while not os.path.exists(folder / "log") and self._process.is_alive():
            time.sleep(0.005)  # until it is the leader of a session, so that a signal reaches it and what it starts

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("pod", timeout or 0.0)
        return self._process.exitcode


def execute(command: list[str], env: dict[str, str], folder: Path) -> None:
    """Does what the command does: Dagster's, with a claim before it or without."""
    os.setsid()
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    with (folder / "log.").open("wb") as log:
        os.dup2(log.fileno(), 1), os.dup2(log.fileno(), 2)
    (folder / "log.").rename(folder / "log")
    from ml_platform.launchers.leases.lease import _run, main
    from ml_platform_tests.crashes import obey

    obey(command)
    if command[1:3] == ["-m", "ml_platform.launchers"]:
        sys.argv = command[2:]
        sys.exit(main(command[3:]))
    sys.exit(_run(command))
