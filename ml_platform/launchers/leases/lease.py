"""Acquires, renews and releases this process's lease, and fences what it publishes.

    python -m ml_platform.launchers LEASE_ID COMMAND...

takes the lease, then runs Dagster's own command as it is. A process that does not get it exits 0 and writes nothing: an
executor that said anything would say it into the run of the process that has it.
"""

import base64
import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import click
import psutil
from dagster import DagsterInstance, deserialize_value

from ml_platform.compat.dagster import InstanceRef
from ml_platform.compat.dagster_steps import command_line
from ml_platform.launchers.leases.schema import ENDED, Holder, Launch
from ml_platform.launchers.leases.table import Launches

LEASE_VARIABLE = "ML_PLATFORM_LAUNCH"  # in the environment of what was started for a launch
_HELD_LEASE_VARIABLE = "ML_PLATFORM_HELD_LEASE"  # in that of the process which has it, and of those that it forks
_LOST_STATUS = 75  # of a process that finds its launch taken away; sysexits' EX_TEMPFAIL
_LOOK_SECONDS, _REPORT_SECONDS = 1.0, 5.0
_CGROUP_PEAK = Path("/sys/fs/cgroup/memory.peak")


class Lease:
    """A lease that this process, or the one that forked it, has.

    Args:
        lost: called where the launch turns out to be another's; by default it ends this process without a word to
            Dagster, as whatever it wrote would stand in the run of the process that has the launch now.
    """

    def __init__(self, launches: Launches, launch_id: str, secret: str, lost: Callable[[], None] | None = None):
        self.launches = launches
        self.launch_id = launch_id
        self.secret = secret
        self._lost = lost or _end_at_once

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """Holds the launch while something becomes visible; nothing does if it is another's by now."""
        with self.launches.publishing(self.launch_id, self.secret) as is_held:
            if not is_held:
                self._lost()
            yield

    def report(self, usage: "Usage") -> Launch | None:
        """Says that the work goes on; returns the launch, None if it is another's by now."""
        return self.launches.renew(self.launch_id, self.secret, usage.cpu_seconds(), usage.peak_bytes)

    def release(self, usage: "Usage") -> None:
        """Says that the process has come to its end."""
        usage.look()
        launch = self.launches.find(self.launch_id)
        if launch is not None:
            measured = {"cpu_seconds": usage.cpu_seconds(), "peak_bytes": max(usage.peak_bytes, launch.peak_bytes)}
            self.launches.release(launch, ENDED, secret=self.secret, measured=measured)


class _Process:
    """Holds what this process works under; a class, so that functions can set it without `global`."""

    lease: Lease | None = None


def current() -> Lease | None:
    """Returns the lease that this process works under; None in a notebook, a test or a process that nobody launched."""
    return _Process.lease


@contextmanager
def publishing() -> Iterator[None]:
    """Holds this process's lease, if it works under one, while something becomes visible."""
    with nullcontext() if _Process.lease is None else _Process.lease.publishing():
        yield


def inherit(instance: DagsterInstance) -> None:
    """Lets a forked process work under the lease of the one that forked it."""
    launch_id, _, secret = os.environ.get("ML_PLATFORM_HELD_LEASE", "").partition(" ")
    if secret:
        _Process.lease = Lease(Launches.of(instance), launch_id, secret)


def take(launches: Launches, lease_id: str) -> Lease | None:
    """Takes a lease for this process; None if it is another's, or nobody's to take any more."""
    holder = Holder()
    if not launches.acquire(lease_id, holder):
        return None
    # The secret goes into the environment for the step processes that this one forks, which work under the same lease.
    _Process.lease = taken = Lease(launches, lease_id.partition(".")[0], holder.secret)
    os.environ[_HELD_LEASE_VARIABLE] = f"{taken.launch_id} {taken.secret}"
    return taken


class Usage:
    """Measures what the processes of this launch have used so far."""

    def __init__(self, process: psutil.Process | None = None):
        self._process = process or psutil.Process()
        self.peak_bytes = 0

    def _all(self) -> list[psutil.Process]:
        try:
            return [self._process, *self._process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def look(self) -> None:
        """Takes note of the memory that is in use now."""
        if "KUBERNETES_SERVICE_HOST" in os.environ and _CGROUP_PEAK.exists():  # the container's own, and exact
            self.peak_bytes = max(self.peak_bytes, int(_CGROUP_PEAK.read_text()))
            return
        in_use = sum(_measured(_memory, one) for one in self._all())
        self.peak_bytes = max(self.peak_bytes, int(in_use))

    def cpu_seconds(self) -> float:
        """Adds up the user and system time of all processes, also of those that ended."""
        return sum(_measured(_times, one) for one in self._all())


def _memory(process: psutil.Process) -> float:
    return float(process.memory_info().rss)


def _times(process: psutil.Process) -> float:
    return float(sum(process.cpu_times()[:4]))  # its own and of those children that ended, user and system


def _measured(ask: Callable[[psutil.Process], float], process: psutil.Process) -> float:
    try:
        return ask(process)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0.0  # it ended while it was looked at


@contextmanager
def kept(lease: Lease) -> Iterator[None]:
    """Reports now and then while the work goes on, and releases the launch at its end."""
    usage, is_over = Usage(), threading.Event()
    thread = threading.Thread(target=_report, args=(lease, usage, is_over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        # Released after the last report, which would else find no lease and end the process as one that lost it.
        is_over.set()
        thread.join(_REPORT_SECONDS)
        lease.release(usage)


def _report(lease: Lease, usage: Usage, is_over: threading.Event) -> None:
    due, was_asked_to_end = 0.0, False
    while not is_over.wait(_LOOK_SECONDS):
        usage.look()
        if time.monotonic() < due:
            continue
        due = time.monotonic() + _REPORT_SECONDS
        try:
            launch = lease.report(usage)
        except Exception as error:  # noqa: BLE001  (the next report may succeed; without any, an end would not be heard of)
            click.echo(f"Not reported: {error}", err=True)
            continue  # whoever takes the launch over must have found this process gone
        if launch is None and not is_over.is_set():
            _end_at_once()
        # Once: a second signal would interrupt Dagster while it handles the first one.
        if launch is not None and launch.ending is not None and not was_asked_to_end:
            was_asked_to_end = True
            os.kill(os.getpid(), signal.SIGTERM)


def _end_at_once() -> None:
    click.echo("This process's lease was released: the work is another's. It ends here, and publishes nothing.")
    # No `sys.exit`: handlers of Dagster's would write a failure into the run that another process goes on with.
    os._exit(_LOST_STATUS)


def leased_command(command: Sequence[str], lease_id: str) -> list[str]:
    """Returns the command that takes a lease before it does what Dagster's command says."""
    return [*lease_prefix(command, lease_id), *command]


def lease_prefix(command: Sequence[str], lease_id: str) -> list[str]:
    """Returns what stands before Dagster's command, run by the same interpreter where the command names one."""
    python = command[0] if list(command[1:3]) == ["-m", "dagster"] else "python"
    return [python, "-m", "ml_platform.launchers", lease_id]


def instance_ref_of(command: Sequence[str], environment: Mapping[str, str]) -> InstanceRef | None:
    """Reads of which instance Dagster's command is; None if it says nothing, so of `$DAGSTER_HOME`'s."""
    compressed = environment.get("DAGSTER_COMPRESSED_EXECUTE_STEP_ARGS")
    if "--compressed-input-json" in command:
        compressed = command[list(command).index("--compressed-input-json") + 1]
    text = zlib.decompress(base64.b64decode(compressed)).decode() if compressed else command[-1]
    args: Any = deserialize_value(text)
    ref: InstanceRef | None = args.instance_ref
    return ref


def _run(command: Sequence[str]) -> int:
    """Runs Dagster's command in this process, which has what it needs; one that is no Dagster's in another."""
    arguments = command[3:] if list(command[1:3]) == ["-m", "dagster"] else command[1:]
    # A second interpreter would cost the two seconds that importing Dagster takes.
    if command[0].rpartition("/")[2] != "dagster" and list(command[1:3]) != ["-m", "dagster"]:
        return subprocess.run(command, check=False).returncode  # noqa: S603  (the location's own entry point)
    dagster = command_line()
    sys.argv = ["dagster", *arguments]
    try:
        dagster()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def main(arguments: Sequence[str]) -> int:
    """Takes the lease and does the work."""
    lease_id, *command = arguments
    ref = instance_ref_of(command, os.environ)
    launches = Launches.of(DagsterInstance.get() if ref is None else ref)
    lease = take(launches, lease_id)
    if lease is None:
        click.echo(f"Launch {lease_id} is another process's, or not to be done any more. Nothing to do here.")
        return 0
    with kept(lease):
        return _run(command)
