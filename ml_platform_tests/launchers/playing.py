"""Cases played on several platforms beside each other."""

import queue
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_platform_tests.launchers.cases import Case
from ml_platform_tests.launchers.world import Outcome, World, world_in
from ml_platform_tests.postgres import Postgres

_PLATFORMS = 2


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
    told: str
    open: Sequence[str] = ()


def play(world: World, case: Case) -> Played:
    """Plays one case."""
    world.clear()
    try:
        run_id = case.play(world)
    except Exception:  # noqa: BLE001  (the case is told as what it is; the others go on)
        return Played(None, 0, "it could not be played", traceback.format_exc())
    faults = [*world.cpu.faults, *world.gpu.faults]
    outcome = world.outcome(run_id)
    left = [] if world.is_stock else [one.ticket for one in world.launches.of_run(run_id) if one.is_open]
    injected = sum(fault.injected for fault in faults) if faults else 1
    return Played(outcome, injected, case.judge(outcome), world.rig.told(run_id), left)


def play_all(
    cases: Sequence[Case], folder: Path, storages: Sequence[dict[str, Any] | None], *, is_stock: bool = False
) -> dict[str, Played]:
    """Plays all cases, each on whichever platform is free: most of the time they wait.

    Args:
        storages: the databases of the platforms; None for SQLite.
    """
    waiting: queue.SimpleQueue[Case] = queue.SimpleQueue()
    for case in cases:
        waiting.put(case)
    found: dict[str, Played] = {}

    def work(number: int) -> None:
        place, storage = folder / f"world_{number}", storages[number]
        with world_in(place, storage, is_stock=is_stock, seconds=0.5) as world, suppress(queue.Empty):
            while True:
                case = waiting.get_nowait()
                found[case.name] = play(world, case)

    with ThreadPoolExecutor(len(storages)) as pool:
        for done in [pool.submit(work, number) for number in range(len(storages))]:
            done.result()
    return found


def databases(server: Postgres, name: str, count: int) -> list[dict[str, Any] | None]:
    """Makes databases on a server, as `dagster.yaml` names them."""
    for number in range(count):
        server.create_database(f"{name}_{number}")
    return [dict(server.storage_yaml(f"{name}_{number}")["storage"]) for number in range(count)]


def play_on_both(cases: Sequence[Case], folder: Path, server: Postgres, name: str) -> dict[str, Played]:
    """Plays every case, half of them on SQLite and half on PostgreSQL; `make soak` plays all on both."""
    with ThreadPoolExecutor(2) as pool:
        sqlite = pool.submit(play_all, cases[::2], folder / "sqlite", [None] * _PLATFORMS)
        postgres = pool.submit(play_all, cases[1::2], folder / "postgres", databases(server, name, _PLATFORMS))
        return {**sqlite.result(), **postgres.result()}
