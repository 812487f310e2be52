"""Everything that may go wrong around a run, each as a case that is played to its end on a platform."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ml_platform_tests.kubernetes import Fault
from ml_platform_tests.launchers.world import Outcome, World
from ml_platform_tests.servers import PATIENT_SECONDS, wait_until

QUOTA = {"code": 403, "message": 'jobs.batch "x" is forbidden: exceeded quota: jobs, requested: count/jobs.batch=1'}
ANSWERS: dict[str, dict[str, Any]] = {
    "403 quota": QUOTA,
    "409": {"code": 409, "message": "the object has been modified"},
    "429": {"code": 429, "message": "too many requests", "headers": {"Retry-After": "1"}},
    "500": {"code": 500},
    "cut before the effect": {"kind": "cut before"},
    "cut after the effect": {"kind": "cut after"},
    "slow": {"kind": "slow", "seconds": 1.0},
    "stale": {"kind": "stale", "seconds": 3600.0},
}
CALLS = {
    "create a job": ("POST", r"/jobs$"),
    "read a job": ("GET", r"/jobs/[^/]+(/status)?$"),
    "list jobs": ("GET", r"/jobs$"),
    "list pods": ("GET", r"/pods$"),
    "delete a job": ("DELETE", r"/jobs/"),
}


@dataclass(frozen=True)
class Case:
    """One fault.

    Attributes:
        play: plays it on a platform; gives the run that it was about.
        statuses: how the run may end.
        is_repeated: whether the work may have begun more than once, as a process that did it was killed.
        is_redone: whether it may have come to its end more than once, as nobody could be told of the first.
        is_telling: whether it is taken before the others, where only some of the cases are played.
    """

    name: str
    play: Callable[[World], str]
    statuses: tuple[str, ...] = ("SUCCESS",)
    is_repeated: bool = False
    is_redone: bool = False
    is_telling: bool = True

    @property
    def kind(self) -> str:
        """Who is disturbed, or in what: the part of the name before the details."""
        return re.split(r"[:;]|, before", self.name)[0]

    def judge(self, outcome: Outcome) -> str | None:
        """Says what is wrong with an outcome; None if nothing is."""
        if outcome.status not in self.statuses:
            return f"the run is {outcome.status}, expected {' or '.join(self.statuses)}"
        is_twice = (outcome.ended > 1 and not self.is_redone) or (outcome.began > 1 and not self.is_repeated)
        if outcome.overlapped or is_twice:
            return f"its work was done twice: {outcome}"
        if outcome.status == "SUCCESS" and outcome.ended < 1:
            return f"its work was lost: {outcome}"
        return f"{outcome.left} pods are left" if outcome.left else None


def cases() -> list[Case]:
    return [*_answers(), *_pods(), *_clusters()]


def _answers() -> Iterator[Case]:
    """A wrong answer to each call that is made for a run, twice in a row."""
    for answer, how in ANSWERS.items():
        if answer != "stale":
            yield Case(f"create a job: {answer}", _creating(how, times=2))
            yield Case(f"create a step's job: {answer}", _creating(how, times=2, step=True))
        yield Case(f"read a job: {answer}", _looking("read a job", how))
        yield Case(f"list pods: {answer}", _looking("list pods", how))
        yield Case(f"list jobs: {answer}", _looking("list jobs", how))
        if answer != "stale":
            yield Case(f"delete a job: {answer}", _terminating(how), ("CANCELED",))


def _creating(how: dict[str, Any], times: int, *, step: bool = False) -> Callable[[World], str]:
    def play(world: World) -> str:
        cluster = world.gpu if step else world.cpu
        cluster.faults.append(Fault(*CALLS["create a job"], **{**how, "times": times}))
        run_id = world.launch(*(("counted", "counted_on_gpu") if step else ("counted",)))
        world.settle(run_id)
        return run_id

    return play


def _looking(call: str, how: dict[str, Any]) -> Callable[[World], str]:
    """Faults while the work is under way and everybody looks."""

    def play(world: World) -> str:
        run_id = world.launch("counted")
        world.wait_for_start(run_id)
        world.cpu.faults.append(Fault(*CALLS[call], **{**how, "times": 3}))
        world.settle(run_id)
        return run_id

    return play


def _terminating(how: dict[str, Any]) -> Callable[[World], str]:
    def play(world: World) -> str:
        run_id = world.launch("counted_long")
        world.wait_for_start(run_id)
        world.cpu.faults.append(Fault(*CALLS["delete a job"], **{**how, "times": 2}))
        world.rig.terminate(run_id)
        world.settle(run_id)
        return run_id

    return play


def _pods() -> Iterator[Case]:
    """What a cluster does to a pod that executes a run, or a step of one."""
    yield Case("the run's pod is evicted", _killing("Evicted"), is_repeated=True)
    yield Case("the step's pod is evicted", _killing("Evicted", step=True), is_repeated=True)
    yield Case("the run's pod runs out of memory, with a larger launcher", _killing("OOMKilled", "counted_climbing"),
               is_repeated=True)  # fmt: skip
    yield Case(
        "the run's pod runs out of memory, with none", _killing("OOMKilled"), ("FAILURE", "SUCCESS"), is_repeated=True
    )
    yield Case("the run's pod dies", _killing("Error"), is_repeated=True)
    yield Case("the job is deleted by somebody", _deleting_the_job, is_repeated=True)


def _killing(reason: str, asset: str = "counted", *, step: bool = False) -> Callable[[World], str]:
    def play(world: World) -> str:
        key, cluster = ("counted_on_gpu", world.gpu) if step else (asset, world.cpu)
        with world.held(key):
            run_id = world.launch(*(("counted", key) if step else (key,)))
            world.wait_for_start(run_id, key)
            cluster.kill_pod(next(one.pod for one in cluster.record if one.finished is None), reason)
        world.settle(run_id)
        return run_id

    return play


def _deleting_the_job(world: World) -> str:
    run_id = world.launch("counted")
    world.wait_for_start(run_id)
    for key in list(world.cpu.jobs):
        world.cpu.controller.delete_job(key, is_orphaning=False)
    world.settle(run_id)
    return run_id


def _clusters() -> Iterator[Case]:
    yield Case("the API is away for 4.5 s while the work is under way", _away)
    yield Case("the API is away when the run is to start", _away_at_the_start)
    yield Case("the namespace is deleted", _deleting_the_namespace, ("FAILURE",), is_repeated=True)
    yield Case("the job's name is somebody else's", _occupied, ("FAILURE",))
    yield Case("a quota is used up for 3 s", _quota)
    yield Case("a quota has no room for the run's pod", _pod_quota("ml-cpu"))
    yield Case("a quota has no room for the step's pod", _pod_quota("ml-gpu"))


def _away(world: World) -> str:
    run_id = world.launch("counted")
    world.wait_for_start(run_id)
    until = time.monotonic() + 4.5
    with world.cpu.away():
        while time.monotonic() < until:
            world.once()
            time.sleep(0.1)
    world.settle(run_id)
    return run_id


def _away_at_the_start(world: World) -> str:
    with world.cpu.away():
        run_id = world.launch("counted")
        for _ in range(5):
            world.once()
            time.sleep(0.1)
    world.settle(run_id)
    return run_id


def _deleting_the_namespace(world: World) -> str:
    run_id = world.launch("counted")
    world.wait_for_start(run_id)
    world.cpu.delete_namespace("ml-cpu")
    try:
        world.settle(run_id)
    finally:
        world.cpu.namespaces["ml-cpu"] = "Active"
    return run_id


def _occupied(world: World) -> str:
    run_id = world.launch("counted")
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "x", "command": ["sleep", "0.1"]}]}
    job = {"metadata": {"name": f"dagster-run-{run_id}"}, "spec": {"template": {"metadata": {}, "spec": pod}}}
    world.cpu.create("ml-cpu", job)
    world.settle(run_id)
    return run_id


def _quota(world: World) -> str:
    world.cpu.quotas["ml-cpu"] = 0
    run_id = world.launch("counted")
    until = time.monotonic() + 3
    while time.monotonic() < until:
        world.once()
        time.sleep(0.1)
    world.cpu.quotas.clear()
    world.settle(run_id)
    return run_id


def _pod_quota(namespace: str) -> Callable[[World], str]:
    """Cores, GPUs and memory are counted by pods: the job is taken, and no pod is made for it."""

    def play(world: World) -> str:
        cluster = world.cpu if namespace == "ml-cpu" else world.gpu
        cluster.pod_quotas[namespace] = 0
        run_id = world.launch("counted", "counted_on_gpu")
        until = time.monotonic() + (5 if world.is_stock else PATIENT_SECONDS)
        while not any("no pod is made for job" in one and "exceeded quota" in one for one in world.waits(run_id)):
            if world.is_stock and time.monotonic() > until:
                break  # it says nothing of it
            assert time.monotonic() < until, world.rig.log_text(run_id)
            world.once()
            time.sleep(0.2)
        cluster.pod_quotas.clear()
        world.settle(run_id)
        return run_id

    return play


def wait_for_pod(world: World, run_id: str) -> None:
    wait_until(lambda: world.left(run_id) > 0, PATIENT_SECONDS, "a pod of the run")
