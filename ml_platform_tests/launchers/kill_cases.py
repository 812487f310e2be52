"""Daemon, launcher, reconciler, run and step killed before each effect that they have, and all of them at once."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from typing import Any

from dagster import DagsterEvent, DagsterEventType

from ml_platform.launchers.leases.schema import work_of
from ml_platform_tests.crashes import KILLED, NOTED, PLATFORM, order
from ml_platform_tests.launchers.cases import Case
from ml_platform_tests.launchers.children import dequeue_in_child, go_on_in_child, in_child, reconcile_in_child
from ml_platform_tests.launchers.world import TIMEOUTS, World
from ml_platform_tests.servers import PATIENT_SECONDS

# How many effects each has; that these are all is asserted: the one that is to be killed before the next is not.
EFFECTS = {
    "the daemon launches": 9,
    "the reconciler finds a run that nobody launched": 1,
    "the reconciler finds a launch that nobody created": 6,
    "the reconciler finds an evicted pod": 9,
    "the reconciler finds the pod of a canceled run gone": 3,
    "the reconciler finds a job that nobody needs": 1,
    "the run's process": 7,
    "the run's process, with a step elsewhere": 11,
    "the step's process": 2,
    "the process that goes on with a run": 7,
}
Setup = Callable[[World], str]


def kill_cases() -> list[Case]:
    return [*_cases("the daemon launches", _launching), *_of_the_reconciler(), *_of_pods()]


def whole_platform_cases() -> list[Case]:
    """Everything is killed at once, before each effect of a run's process and of a step's."""
    return [
        Case(f"everything, before effect {n} of {whose}", _everything(command, n, assets), is_repeated=True,
             is_telling=is_telling(n, EFFECTS[who]))
        for who, whose, command, assets in (
            ("the run's process", "the run's process", "execute_run", ("counted",)),
            ("the run's process, with a step elsewhere", "a mixed run's process", "execute_run", MIXED),
            ("the step's process", "the step's process", "execute_step", MIXED),
        )
        for n in range(EFFECTS[who])
    ]  # fmt: skip


def is_telling(before: int, count: int) -> bool:
    """Whether an effect is an actor's first, middle or last; with none after it, that there are no more is shown."""
    return before in (0, count // 2, count - 1, count)


MIXED = ("counted", "counted_on_gpu")


def stock_plays() -> list[tuple[str, Callable[[int], Setup]]]:
    """Returns who there is on the stock platform as well; how many effects each has there nobody says."""
    return [
        ("the daemon launches", lambda before: _launching(before, None)),
        ("the run's process", lambda before: _of_pod("execute_run", ("counted",))(before, None)),
        ("the run's process, with a step elsewhere", lambda before: _of_pod("execute_run", MIXED)(before, None)),
        ("the process that goes on with a run", lambda before: _going_on(before, None)),
        ("everything", lambda before: _everything("execute_run", before, ("counted",), None)),
        ("everything", lambda before: _everything("execute_run", before, MIXED, None)),
    ]


def _cases(what: str, play: Callable[[int, bool], Setup], **more: Any) -> Iterator[Case]:
    count = EFFECTS[what]
    for before in range(count + 1):
        yield Case(f"{what}; killed before effect {before} of {count}", play(before, before < count),
                   is_telling=is_telling(before, count), **more)  # fmt: skip


def _launching(before: int, is_killed: bool | None) -> Setup:
    def run(world: World) -> str:
        run_id = world.launch("counted")
        _in_child(world, dequeue_in_child, before, is_killed)
        world.settle(run_id)
        return run_id

    return run


def _of_the_reconciler() -> Iterator[Case]:
    def with_setup(setup: Setup) -> Callable[[int, bool], Setup]:
        def play(before: int, is_killed: bool) -> Setup:
            def run(world: World) -> str:
                run_id = setup(world)
                _in_child(world, reconcile_in_child, before, is_killed)
                world.settle(run_id)
                return run_id

            return run

        return play

    yield from _cases("the reconciler finds a run that nobody launched", with_setup(_never_launched))
    yield from _cases("the reconciler finds a launch that nobody created", with_setup(_never_created))
    yield from _cases("the reconciler finds an evicted pod", with_setup(_evicted), is_repeated=True)
    yield from _cases(
        "the reconciler finds the pod of a canceled run gone", with_setup(_terminated), statuses=("CANCELED",)
    )
    yield from _cases("the reconciler finds a job that nobody needs", with_setup(_needless))


def _of_pod(command: str, assets: tuple[str, ...]) -> Callable[[int, bool | None], Setup]:
    def play(before: int, is_killed: bool | None) -> Setup:
        def run(world: World) -> str:
            order(world.folder, command, before)
            run_id = world.launch(*assets)
            world.settle(run_id)
            _require_killed(world, is_killed)
            return run_id

        return run

    return play


def _of_pods() -> Iterator[Case]:
    yield from _cases("the run's process", _of_pod("execute_run", ("counted",)), is_repeated=True)
    yield from _cases("the run's process, with a step elsewhere", _of_pod("execute_run", MIXED), is_repeated=True)
    yield from _cases("the step's process", _of_pod("execute_step", MIXED), is_repeated=True,
                      statuses=("SUCCESS", "FAILURE"))  # fmt: skip
    yield from _cases("the process that goes on with a run", _going_on, is_repeated=True)


def _going_on(before: int, is_killed: bool | None) -> Setup:
    def run(world: World) -> str:
        run_id = world.launch("counted_a_while")  # so that it is at work when it is killed, however slow the machine
        world.wait_for_start(run_id)
        order(world.folder, "resume_run", before)
        world.cpu.kill_pod(next(one.pod for one in world.cpu.record if one.finished is None))
        world.settle(run_id)
        _require_killed(world, is_killed)
        return run_id

    return run


def _everything(command: str, before: int, assets: tuple[str, ...], is_killed: bool | None = True) -> Setup:
    def run(world: World) -> str:
        platform = in_child(go_on_in_child, str(world.folder / "home"))
        (world.folder / PLATFORM).write_text(str(platform.pid))
        order(world.folder, command, before, "everybody")
        run_id = world.launch(*assets)
        platform.join(PATIENT_SECONDS if is_killed else 15)
        if is_killed is None:
            platform.kill(), platform.join()  # there was no such effect, or it is over
        assert platform.exitcode == -9, (
            f"the platform was not killed: {platform.exitcode}\n{world.rig.log_text(run_id)}"
        )
        for cluster in (world.cpu, world.gpu):
            for ran in [one for one in cluster.record if one.finished is None]:
                with suppress(KeyError):
                    cluster.kill_pod(ran.pod, "NodeLost")  # what is only killed counts as out of memory
        world.settle(run_id)
        return run_id

    return run


def _in_child(world: World, what: Callable[..., None], before: int, is_killed: bool | None) -> None:
    process = in_child(what, str(world.folder / "home"), before)
    process.join(PATIENT_SECONDS)
    _require_killed(world, is_killed)
    assert process.exitcode in ((-9, 0) if is_killed is None else (-9,) if is_killed else (0,)), process.exitcode


def _require_killed(world: World, is_killed: bool | None) -> None:
    noted = (world.folder / NOTED).read_text()
    assert is_killed is None or (KILLED in noted) == is_killed, f"it had other effects than EFFECTS says:\n{noted}"


def _never_launched(world: World) -> str:
    """A daemon was killed between RUN_STARTING and whatever would be next."""
    run_id = world.launch("counted")
    event = DagsterEvent(DagsterEventType.PIPELINE_STARTING.value, world.rig.run(run_id).job_name)
    world.rig.instance.report_dagster_event(event, run_id=run_id)
    time.sleep(TIMEOUTS["grace_seconds"])
    return run_id


def _never_created(world: World) -> str:
    run_id = _never_launched(world)
    run = world.rig.run(run_id)
    route = world.rig.launcher.route(run)
    world.launches.intend(work_of(run), route.launcher, route)
    time.sleep(TIMEOUTS["grace_seconds"])
    return run_id


def _evicted(world: World) -> str:
    with world.held("counted"):
        run_id = world.launch("counted")
        world.wait_for_start(run_id)
        ran = next(one for one in world.cpu.record if one.finished is None)
        world.cpu.kill_pod(ran.pod, "NodeLost")  # at once; an eviction would ask first
    _wait_until(lambda: ran.finished is not None)
    time.sleep(0.2)
    return run_id


def _terminated(world: World) -> str:
    run_id = world.launch("counted_long")
    world.wait_for_start(run_id)
    run = world.rig.run(run_id)
    world.rig.instance.report_run_canceling(run)
    launch = world.launches.last(run_id)
    assert launch is not None
    world.launches.end(launch)
    ran = next(one for one in world.cpu.record if one.finished is None)
    world.cpu.kill_pod(ran.pod)
    _wait_until(lambda: ran.finished is not None)
    time.sleep(0.2)
    return run_id


def _needless(world: World) -> str:
    """A job that was created for a launch which was put off meanwhile, as by a launcher whose answer was lost."""
    run_id = world.launch("counted")
    world.wait_for_start(run_id)
    (job,) = [job for (_, name), job in world.cpu.jobs.items() if run_id in name]
    orphan = deepcopy({"metadata": {**job["metadata"], "name": f"orphan-{run_id}"}, "spec": job["spec"]})
    orphan["spec"]["template"]["spec"]["containers"][0].update(command=["sleep", "60"], args=[])
    for metadata in (orphan["metadata"], orphan["spec"]["template"]["metadata"]):
        metadata["labels"]["ml-platform/generation"] = "0"
    world.cpu.create("ml-cpu", orphan)
    return run_id


def _wait_until(what: Callable[[], bool], seconds: float = PATIENT_SECONDS) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)
