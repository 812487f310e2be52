"""Work of the daemon, the reconciler and others in processes of their own, which may be killed."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import dagster as dg

from ml_platform.compat.dagster import LaunchRunContext
from ml_platform.launchers.runs.reconciler import Reconciler
from ml_platform.launchers.runs.relay import Relay
from ml_platform.launchers.runs.run_launcher import RoutingRunLauncher
from ml_platform_tests.crashes import NOTED, PLATFORM, Crash, Cut, is_obeyed
from ml_platform_tests.dagster_internals import QueuedRunCoordinatorDaemon
from ml_platform_tests.kubernetes.warm import forkserver


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
