"""Lists launches and their costs, migrates the launch table, and runs the reconciler."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ml_platform.artifacts.home import dagster_home
from ml_platform.cli.routes import instance_file
from ml_platform.errors import LaunchError
from ml_platform.launchers.leases.schema import Launch
from ml_platform.launchers.leases.table import Launches
from ml_platform.launchers.runs.reconciler import Reconciler
from ml_platform.launchers.runs.relay import Relay
from ml_platform.launchers.sizes import format_bytes

_SILENT_SECONDS = 120.0  # requests are looked for each second; who has not for so long hangs


@contextmanager
def instance_here() -> Iterator[dg.DagsterInstance]:
    """Opens the instance that the commands are about.

    Raises:
        LaunchError: there is none yet.
    """
    if not instance_file().is_relative_to(dagster_home()):
        raise LaunchError(f"{dagster_home()}: no Dagster instance there yet; `ml-platform run PIPELINE` makes one")
    with dg.DagsterInstance.from_config(str(dagster_home())) as instance:
        yield instance


def migrate() -> str:
    """Creates the launch table or brings it to what this version needs; says what was done."""
    with instance_here() as instance:
        launches = Launches.of(instance)
        return f"launch table in {launches.place}: {'brought up to date' if launches.migrate() else 'is up to date'}"


def launches_here(run_id: str | None, limit: int) -> list[Launch]:
    """Lists the newest launches, or those of a run, oldest first."""
    with instance_here() as instance:
        launches = Launches.of(instance)
        return launches.of_run(run_id) if run_id else launches.all(limit)


def to_json(launch: Launch) -> dict[str, Any]:
    """Returns plain values, the token left out: who knows it could release the launch."""
    plain = asdict(launch)
    plain.pop("secret")
    costs = {"seconds": launch.seconds, "gpu_seconds": launch.gpu_seconds}
    return {**plain.pop("work"), **plain, **costs}


def costs_of_assets(launches: Sequence[Launch]) -> dict[str, dict[str, float]]:
    """Adds up what each asset cost, failed tries included; a step of several assets counts for each in equal parts."""
    found: dict[str, dict[str, float]] = {}
    for launch in launches:
        for asset in launch.work.assets:
            costs = found.setdefault(asset, {"tries": 0, "cpu_seconds": 0.0, "gpu_seconds": 0.0, "peak_bytes": 0})
            costs["tries"] += 1
            costs["cpu_seconds"] += launch.cpu_seconds / len(launch.work.assets)
            costs["gpu_seconds"] += launch.gpu_seconds / len(launch.work.assets)
            costs["peak_bytes"] = max(costs["peak_bytes"], launch.peak_bytes)
    return found


def print_launches(launches: Sequence[Launch], console: Console | None = None) -> None:
    """Prints a line for each launch, then one for each asset."""
    console = console or Console()
    if not launches:
        console.print("Nothing was launched yet.")
        return
    table = Table("when", "what", "launcher", "state", "seconds", "CPU s", "GPU s", "peak", title="launches",
                  title_justify="left")  # fmt: skip
    for one in launches:
        when = datetime.fromtimestamp(one.intended, UTC).strftime("%Y-%m-%d %H:%M:%S")
        what = f"{one.work.step or one.work.job} (run {one.work.run_id[:8]})"
        figures = (
            f"{one.seconds:.1f}",
            f"{one.cpu_seconds:.1f}",
            f"{one.gpu_seconds:.1f}",
            format_bytes(one.peak_bytes),
        )
        table.add_row(when, escape(what), escape(one.launcher), escape(state_of(one)), *figures)
    console.print(table)
    costs = Table("asset", "tries", "CPU s", "GPU s", "peak", title="what assets cost, failed tries included",
                  title_justify="left")  # fmt: skip
    for asset, cost in sorted(costs_of_assets(launches).items()):
        peak = format_bytes(int(cost["peak_bytes"]))
        costs.add_row(
            escape(asset), f"{cost['tries']:.0f}", f"{cost['cpu_seconds']:.1f}", f"{cost['gpu_seconds']:.1f}", peak
        )
    if costs.row_count:
        console.print(costs)


def state_of(launch: Launch) -> str:
    """Says in a word or two how far a launch is."""
    if launch.released is not None:
        return str(launch.outcome)
    if launch.ending is not None:
        return "ending"
    if launch.acquired is not None:
        return "at work"
    if launch.waiting_until is not None:
        return f"waits (try {launch.tries + 1}): {launch.reason}"
    return "starting" if launch.created is not None else "intended"


def reconcile(every_seconds: float, alive: Path | None = None, console: Console | None = None) -> bool:
    """Looks after all launches, once or for ever; says what there was to do. False if something could not be done.

    Args:
        alive: a file that is touched as long as both go on, the looks and the answers to requests.
    """
    console = console or Console()

    def tell(what: str) -> None:
        console.print(f"{datetime.now(UTC):%H:%M:%S} launches: {escape(what)}", soft_wrap=True)

    def beat() -> None:
        if alive is not None and time.monotonic() - relay.looked < _SILENT_SECONDS:
            alive.touch()

    with instance_here() as instance:
        reconciler, relay = Reconciler(instance, beat), Relay(instance, tell)
        if not every_seconds:
            relay.serve()
            found = reconciler.look_once()
            tell(str(found))
            return not found.problems
        with relay.serving():
            while True:
                found = reconciler.look_once()
                if not found.is_quiet:
                    tell(str(found))
                time.sleep(every_seconds)
