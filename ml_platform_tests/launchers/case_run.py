"""Cases played on several platforms beside each other."""

import queue
import sys
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterEvent, DagsterEventType

from ml_platform_tests import tiers
from ml_platform_tests.kubernetes.warm import forkserver
from ml_platform_tests.launchers.cases import Case
from ml_platform_tests.launchers.children import in_child, launch_in_child
from ml_platform_tests.launchers.world import Outcome, World, world_in
from ml_platform_tests.postgres import Postgres

_PLATFORMS = 2
DATABASES = ("sqlite", "postgres")


@dataclass(frozen=True)
class On:
    """A case and the database that it is played on."""

    case: Case
    database: str

    def __str__(self) -> str:
        return f"{self.case.name}, on {self.database}"


@dataclass(frozen=True)
class Played:
    """What became of a case.

    Attributes:
        injected: how often something went wrong.
        problem: what is wrong with the outcome; None if nothing is.
        told: the run's log.
        open: launches that are still open.
    """

    outcome: Outcome | None
    injected: int
    problem: str | None
    log: str
    open: Sequence[str] = ()


def play(world: World, case: Case) -> Played:
    """Plays one case."""
    world.clear()
    try:
        run_id = case.play(world)
    except Exception:  # noqa: BLE001  (the case is told as what it is; the others go on)
        return Played(None, 0, "it could not be played", traceback.format_exc())
    faults = [*world.cpu.faults, *world.gpu.faults]
    return judged(world, case, run_id, sum(fault.injected for fault in faults) if faults else 1)


def judged(world: World, case: Case, run_id: str, injected: int = 1) -> Played:
    """Says what became of a case's run."""
    outcome = world.outcome(run_id)
    launches = [] if world.is_stock else world.launches.of_run(run_id)
    log = "\n".join([world.rig.log_text(run_id), *map(str, launches), *world.printed(run_id)])
    return Played(outcome, injected, case.judge(outcome), log, [one.lease_id for one in launches if one.is_open])


def queued(world: World, count: int) -> list[str]:
    """Makes runs that are starting, and that nobody starts."""
    run_ids = [world.launch("counted") for _ in range(count)]
    for run_id in run_ids:
        event = DagsterEvent(DagsterEventType.PIPELINE_STARTING.value, world.rig.run(run_id).job_name)
        world.rig.instance.report_dagster_event(event, run_id=run_id)
    return run_ids


def start_twice(home: Path, run_ids: list[str]) -> None:
    """Has two processes launch each of the runs at the same moment."""
    barrier = forkserver().Barrier(2)
    both = [in_child(launch_in_child, str(home), run_ids, barrier) for _ in range(2)]
    for process in both:
        process.join(300)
        assert process.exitcode == 0


def double_starts(
    folder: Path, storage: dict[str, Any] | None, count: int, *, is_stock: bool = False
) -> dict[str, list[Played]]:
    """Starts runs twice at a time on a cluster."""
    with world_in(folder, storage, is_stock=is_stock, seconds=0.2) as world:
        run_ids = queued(world, count)
        start_twice(folder / "home", run_ids)
        world.settle(*run_ids)
        case = Case("a run is started twice at a time", lambda _: "")
        return {case.name: [judged(world, case, run_id) for run_id in run_ids]}


def play_all(
    cases: Sequence[Case], folder: Path, storages: Sequence[dict[str, Any] | None], servers: Sequence[Postgres] = (),
    *, is_stock: bool = False,
) -> dict[str, Played]:  # fmt: skip
    """Plays all cases, each on whichever platform is free: most of the time they wait.

    Args:
        storages: the databases of the platforms; None for SQLite.
        servers: those that the platforms have to themselves.
    """
    waiting: queue.SimpleQueue[Case] = queue.SimpleQueue()
    for case in cases:
        waiting.put(case)
    found: dict[str, Played] = {}
    storages = storages[: len(cases)]  # a platform takes a second to start

    def work(number: int) -> None:
        place, storage = folder / f"world_{number}", storages[number]
        with world_in(place, storage, is_stock=is_stock, seconds=0.5) as world, suppress(queue.Empty):
            world.server = servers[number] if servers else None
            while True:
                case, since = waiting.get_nowait(), time.monotonic()
                found[case.name] = played = play(world, case)
                message = f"{len(found)}/{len(cases)} {case.name}: {played.problem or played.outcome}"
                why = f"\n{played.log}" if played.problem else ""
                sys.stdout.write(f"{message} ({time.monotonic() - since:.1f} s){why}\n")

    with ThreadPoolExecutor(len(storages) or 1) as pool:
        for done in [pool.submit(work, number) for number in range(len(storages))]:
            done.result()
    return found


def databases(server: Postgres, name: str, count: int, *, is_stock: bool = False) -> list[dict[str, Any] | None]:
    """Makes databases on a server, as `dagster.yaml` names them."""
    for number in range(count):
        server.create_database(f"{name}_{number}")
    return [server.storage_yaml(f"{name}_{number}", is_stock=is_stock) for number in range(count)]


def on_both(of: str, cases: Sequence[Case]) -> list[Any]:
    """Pairs every case with a database for a test's `played_on`; its second one is for `make soak`.

    Args:
        of: which list it is, of those in `tiers.CASES`.
    """
    own = {case.name: DATABASES[place % 2] for place, case in enumerate(cases)}
    ordered = [On(case, own[case.name]) for case in cases]
    first = tiers.cases(of, ordered, kind=lambda on: on.case.kind, is_telling=lambda on: on.case.is_telling)
    rest = [On(case, other) for case in cases for other in DATABASES if other != own[case.name]]
    return [*first, *(pytest.param(on, marks=tiers.SOAK) for on in rest)]


def play_on_both(chosen: Sequence[On], folder: Path, server: Postgres, name: str) -> dict[On, Played]:
    """Plays cases on their databases, on both at a time."""
    cases = {database: [on.case for on in chosen if on.database == database] for database in DATABASES}
    with ThreadPoolExecutor(2) as pool:
        sqlite = pool.submit(play_all, cases["sqlite"], folder / "sqlite", [None] * _PLATFORMS)
        postgres = pool.submit(play_all, cases["postgres"], folder / "postgres", databases(server, name, _PLATFORMS))
        found = {"sqlite": sqlite.result(), "postgres": postgres.result()}
    return {on: found[on.database][on.case.name] for on in chosen}


def play_with_outages(cases: Sequence[Case], folder: Path, *, is_stock: bool = False) -> dict[str, Played]:
    """Plays on two platforms, each of which has a server to itself."""
    folder.mkdir(exist_ok=True)
    with ExitStack() as stack:
        servers = []
        for number in range(min(2, len(cases))):
            place = folder / f"server_{number}"
            place.mkdir()
            servers.append(stack.enter_context(Postgres(place)))
        storages = [databases(server, "outages", 1, is_stock=is_stock)[0] for server in servers]
        return play_all(cases, folder, storages, servers, is_stock=is_stock)
