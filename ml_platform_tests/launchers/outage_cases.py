"""The database is cut off and comes back: before each effect of those who write to it, and while they do other things."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from sqlalchemy.exc import DBAPIError

from ml_platform_tests.crashes import NOTED, PLATFORM, Cut, order
from ml_platform_tests.dagster_internals import DagsterPostgresException
from ml_platform_tests.kubernetes import Fault
from ml_platform_tests.launchers.cases import CALLS, Case
from ml_platform_tests.launchers.children import dequeue_in_child, in_child
from ml_platform_tests.launchers.kill_cases import EFFECTS, MIXED, is_telling
from ml_platform_tests.launchers.world import World
from ml_platform_tests.postgres import Postgres
from ml_platform_tests.servers import PATIENT_SECONDS

_AWAY = (DBAPIError, DagsterPostgresException)
_SHORT, _LONG = 1.0, 8.0  # seconds; Dagster itself asks again for some six


def outage_cases() -> list[Case]:
    return [*_before_effects(), *_meanwhile()]


def _before_effects() -> Iterator[Case]:
    who = "the daemon launches"
    for before in range(EFFECTS[who]):
        yield Case(f"{who}; the database is cut before effect {before}", _of_the_daemon(before),
                   is_telling=is_telling(before, EFFECTS[who]))  # fmt: skip
    for who, command, assets in (
        ("the run's process", "execute_run", ("counted",)),
        ("the run's process, with a step elsewhere", "execute_run", MIXED),
        ("the step's process", "execute_step", MIXED),
    ):
        for before in range(EFFECTS[who]):
            yield Case(f"{who}; the database is cut before effect {before}", _of_a_pod(command, before, assets),
                       is_repeated=True, is_telling=is_telling(before, EFFECTS[who]))  # fmt: skip


def _meanwhile() -> Iterator[Case]:
    yield Case("the database is cut while a run is queued", _while_queued)
    yield Case("the database is cut while a job is created", _while_creating)
    yield Case("the database is cut before a pod takes its lease", _before_the_lease)
    yield Case(f"the database is cut for {_SHORT:.0f} s while a run executes", _while_executing(_SHORT))
    yield Case(f"the database is cut for {_LONG:.0f} s while a run executes", _while_executing(_LONG),
               is_repeated=True, is_redone=True)  # fmt: skip
    yield Case("the database is cut while a run is to end", _while_ending, ("CANCELED",))


@contextmanager
def _kept(world: World, seconds: float = _SHORT) -> Iterator[Postgres]:
    """Has a fallen server come back after so long."""
    server, is_over = world.server, threading.Event()
    assert server is not None

    def keep() -> None:
        while not is_over.wait(0.02):
            if not server.is_running:
                server.cut()
                time.sleep(seconds)
                server.restart()

    keeper = threading.Thread(target=keep)
    keeper.start()
    (world.folder / PLATFORM).write_text(str(server.pid))
    try:
        yield server
    finally:
        is_over.set()
        keeper.join()
        if not server.is_running:
            server.cut(), server.restart()  # for the next case


def _fall(server: Postgres) -> None:
    os.kill(server.pid, signal.SIGQUIT)


def _settle(world: World, run_id: str, timeout_seconds: float = PATIENT_SECONDS) -> str:
    """As Dagster's daemon and the reconciler do: what a database that is away keeps from them, they do later."""
    until = time.monotonic() + timeout_seconds
    while time.monotonic() < until:
        with suppress(*_AWAY):
            world.settle(run_id, timeout_seconds=until - time.monotonic())
            break
    return run_id


def _of_the_daemon(before: int) -> Callable[[World], str]:
    def play(world: World) -> str:
        run_id = world.launch("counted")
        with _kept(world):
            daemon = in_child(dequeue_in_child, str(world.folder / "home"), before, Cut)
            daemon.join(PATIENT_SECONDS)
            _require_cut(world)
            return _settle(world, run_id)

    return play


def _of_a_pod(command: str, before: int, assets: tuple[str, ...]) -> Callable[[World], str]:
    def play(world: World) -> str:
        with _kept(world):
            order(world.folder, command, before, "database")
            run_id = world.launch(*assets)
            _settle(world, run_id)
            _require_cut(world)
            return run_id

    return play


def _require_cut(world: World) -> None:
    assert "killed" in (world.folder / NOTED).read_text(), "the database was not cut"


def _while_queued(world: World) -> str:
    run_id = world.launch("counted")
    with _kept(world) as server:
        _fall(server)
        return _settle(world, run_id)


def _while_creating(world: World) -> str:
    run_id = world.launch("counted")
    world.cpu.faults.append(Fault(*CALLS["create a job"], kind="slow", seconds=1.0, times=1))
    with _kept(world) as server:
        timer = threading.Timer(0.7, _fall, [server])
        timer.start()
        _settle(world, run_id)
        timer.join()
        return run_id


def _before_the_lease(world: World) -> str:
    run_id = world.launch("counted")
    with _kept(world) as server:
        while not any(method == "POST" for method, _, _ in world.cpu.calls):
            world.dequeue()
        _fall(server)
        return _settle(world, run_id)


def _while_executing(seconds: float) -> Callable[[World], str]:
    def play(world: World) -> str:
        run_id = world.launch("counted")
        world.wait_for_start(run_id)
        with _kept(world, seconds) as server:
            _fall(server)
            return _settle(world, run_id)

    return play


def _while_ending(world: World) -> str:
    run_id = world.launch("counted_long")
    world.wait_for_start(run_id)
    with _kept(world) as server:
        world.rig.terminate(run_id)
        _fall(server)
        return _settle(world, run_id)
