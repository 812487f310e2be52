"""What is not known is not taken for done, and what is done is not done again.

`test_mutants` breaks these fences one by one, and these tests must notice.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
import time_machine
from dagster import DagsterEvent, DagsterEventType

from ml_platform.compat.dagster import LaunchRunContext, WorkerStatus
from ml_platform.errors import LaunchError
from ml_platform.launchers.backends.protocol import LaunchStatus, Orphan, RetryLater, State
from ml_platform.launchers.leases.schema import (
    DIED,
    ENDED,
    EVICTED,
    LAUNCHES,
    OUT_OF_MEMORY,
    REFUSED,
    Holder,
    Launch,
    Work,
    work_of,
)
from ml_platform.launchers.leases.table import Launches
from ml_platform.launchers.routes import Route
from ml_platform.launchers.runs.coordinator import RoutingRunCoordinator
from ml_platform.launchers.runs.reconciler import Reconciler
from ml_platform.launchers.runs.run_launcher import RoutingRunLauncher
from ml_platform.launchers.tag_policy import WAITING_TAG
from ml_platform_tests.dagster_internals import create_run_for_test
from ml_platform_tests.launchers.machine import ORIGIN

STATUS = dg.DagsterRunStatus
WORK = Work("run", "run", "job")


class Backend:
    """A backend that answers as the test wants."""

    acquires_lease = True

    def __init__(self) -> None:
        self.seen = LaunchStatus(State.RUNNING)
        self.retry_later: RetryLater | None = None
        self.started: list[Launch] = []
        self.ended: list[Launch] = []
        self.removed: list[Orphan] = []
        self.listed: list[Orphan] = []

    def start(self, launch: Launch, _context: Any) -> None:
        if self.retry_later is not None:
            raise self.retry_later
        self.started.append(launch)

    def look(self, _launch: Launch) -> LaunchStatus:
        return self.seen

    def end(self, launch: Launch) -> None:
        self.ended.append(launch)

    def orphans(self) -> list[Orphan]:
        return self.listed

    def remove(self, orphan: Orphan) -> None:
        self.removed.append(orphan)


def test_a_launcher_has_one_backend_however_many_threads_launch(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher, built = instance.run_launcher, []
    assert isinstance(launcher, RoutingRunLauncher)

    def make(*_: Any) -> Backend:
        time.sleep(0.05)
        built.append(Backend())
        return built[-1]

    monkeypatch.setattr(launcher.starter, "_backends", {})
    monkeypatch.setattr(launcher.children, "backend_spec", lambda _: SimpleNamespace(backend=make))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: launcher.starter.backend("cpu"), range(4)))
    assert len(built) == 1
    assert all(one is built[0] for one in found)


@pytest.fixture
def backend(instance: dg.DagsterInstance) -> Backend:
    launcher, backend = instance.run_launcher, Backend()
    assert isinstance(launcher, RoutingRunLauncher)
    launcher.starter._backends = {"cpu": backend, "gpu": Backend()}
    escalation = ("cpu", "gpu")
    launcher.starter._escalation_of = lambda *_: escalation  # type: ignore[method-assign]
    launcher.starter._route_of = lambda run: Route(escalation[min(launcher.starter.level_of(run, "step"), 1)], {})
    launcher.route = lambda run, _tags=None: Route("cpu", {})  # type: ignore[method-assign, assignment]
    return backend


def start(instance: dg.DagsterInstance, status: dg.DagsterRunStatus = STATUS.STARTING) -> dg.DagsterRun:
    run = create_run_for_test(instance, status=status, remote_job_origin=ORIGIN)
    instance.run_launcher.launch_run(LaunchRunContext(run, None))
    return run


def test_what_is_at_work_is_not_started_again(
    instance: dg.DagsterInstance, launches: Launches, backend: Backend
) -> None:
    run = start(instance)
    launch = launches.last(run.run_id)
    assert launch is not None
    launches.acquire(launch.lease_id, Holder())
    instance.run_launcher.launch_run(LaunchRunContext(run, None))
    assert len(backend.started) == 1


def test_unreachable_is_not_dead(instance: dg.DagsterInstance, launches: Launches, backend: Backend) -> None:
    run = start(instance, STATUS.STARTED)
    launch = launches.last(run.run_id)
    assert launch is not None
    launches.acquire(launch.lease_id, Holder())
    backend.seen = LaunchStatus(State.UNREACHABLE, "away")
    assert instance.run_launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
    Reconciler(instance).look_once()
    assert launches.get(launch.id).is_open
    backend.seen = LaunchStatus(State.ENDED, "gone", DIED)
    assert instance.run_launcher.check_run_worker_health(run).status is WorkerStatus.FAILED


def test_an_open_launch_is_not_resumed(instance: dg.DagsterInstance, launches: Launches, backend: Backend) -> None:
    run = start(instance, STATUS.STARTED)
    launch = launches.last(run.run_id)
    assert launch is not None
    launches.acquire(launch.lease_id, Holder())
    instance.run_launcher.resume_run(SimpleNamespace(dagster_run=run))  # type: ignore[arg-type]
    assert launches.last(run.run_id) == launches.get(launch.id)
    assert len(backend.started) == 1


def test_a_busy_launcher_keeps_its_run_waiting_and_no_other(
    instance: dg.DagsterInstance, launches: Launches, backend: Backend
) -> None:
    backend.retry_later = RetryLater("quota", 90.0)
    run = start(instance)
    found = instance.get_run_by_id(run.run_id)
    launch = launches.last(run.run_id)
    assert found is not None
    assert launch is not None
    assert (found.status, launch.fencing_token, launch.tries) == (STATUS.QUEUED, 2, 1)
    assert launch.waiting_until is not None
    assert launch.waiting_until - time.time() > 80
    coordinator = instance.run_coordinator
    assert isinstance(coordinator, RoutingRunCoordinator)
    kept_back = coordinator.get_run_queue_config().tag_concurrency_limits
    assert kept_back == [{"key": WAITING_TAG, "value": found.tags[WAITING_TAG], "limit": 0}]
    messages = [str(entry.message) for entry in instance.all_logs(run.run_id) if "busy" in str(entry.message)]
    assert len(messages) == 1


def test_what_was_started_though_nobody_said_so_is_not_queued_again(
    instance: dg.DagsterInstance, launches: Launches, backend: Backend
) -> None:
    run = create_run_for_test(instance, status=STATUS.STARTING, remote_job_origin=ORIGIN)

    def start(launch: Launch, _context: Any) -> None:
        launches.acquire(launch.lease_id, Holder())
        raise RetryLater("the answer was lost")

    backend.start = start  # type: ignore[method-assign]
    instance.run_launcher.launch_run(LaunchRunContext(run, None))
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    assert found.status is STATUS.STARTING


def test_what_can_never_start_is_closed_and_said(
    instance: dg.DagsterInstance, launches: Launches, backend: Backend
) -> None:
    def start(*_: Any) -> None:
        raise LaunchError("never")

    backend.start = start  # type: ignore[method-assign]
    run = create_run_for_test(instance, status=STATUS.STARTING, remote_job_origin=ORIGIN)
    with pytest.raises(LaunchError, match="never"):
        instance.run_launcher.launch_run(LaunchRunContext(run, None))
    last = launches.last(run.run_id)
    assert last is not None
    assert (last.outcome, last.reason) == (REFUSED, "never")


def die(
    instance: dg.DagsterInstance,
    launches: Launches,
    backend: Backend,
    run: dg.DagsterRun,
    outcome: str,
    step: str = "",
) -> Launch | None:
    launch = launches.last(run.run_id)
    assert launch is not None
    launches.acquire(launch.lease_id, Holder())
    if step:
        launches.intend(work_of(run, step), launch.launcher, within=launch.id)
    backend.seen = LaunchStatus(State.ENDED, "gone", outcome)
    Reconciler(instance).look_once()
    backend.seen = LaunchStatus(State.RUNNING)
    return launches.last(run.run_id)


def test_evicted_runs_go_on_where_they_were_a_few_times(
    instance: dg.DagsterInstance, launches: Launches, backend: Backend
) -> None:
    run = start(instance, STATUS.STARTED)
    for attempt in (2, 3, 4):
        last = die(instance, launches, backend, run, EVICTED)
        assert last is not None
        assert (last.attempt, last.is_open, last.launcher) == (attempt, True, "cpu")
    last = die(instance, launches, backend, run, EVICTED)
    assert last is not None
    assert (last.attempt, last.is_open) == (4, False)


def test_out_of_memory_escalates_and_not_without_end(
    instance: dg.DagsterInstance, launches: Launches, backend: Backend
) -> None:
    run = start(instance, STATUS.STARTED)
    last = die(instance, launches, backend, run, OUT_OF_MEMORY, "step")
    assert last is not None
    assert (last.attempt, last.launcher, last.is_open) == (2, "gpu", True)
    assert launches.tries_of(work_of(run, "step"))[0].outcome == OUT_OF_MEMORY
    gpu = instance.run_launcher.starter.backend("gpu")  # type: ignore[attr-defined]
    last = die(instance, launches, gpu, run, OUT_OF_MEMORY, "step")
    assert last is not None
    assert (last.attempt, last.is_open) == (2, False)
    health = instance.run_launcher.check_run_worker_health(run)
    assert "no launcher to escalate to" in str(health.msg)


def test_a_terminated_run_is_ended_until_it_is_gone(
    instance: dg.DagsterInstance, launches: Launches, backend: Backend
) -> None:
    run = start(instance, STATUS.STARTED)
    launch = launches.last(run.run_id)
    assert launch is not None
    launches.acquire(launch.lease_id, Holder())
    instance.run_launcher.terminate(run.run_id)
    for looks in (1, 2, 3):
        assert len(backend.ended) == looks
        assert launches.get(launch.id).is_open
        Reconciler(instance).look_once()
    backend.seen = LaunchStatus(State.ABSENT, "gone")
    Reconciler(instance).look_once()
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    assert (found.status, launches.get(launch.id).is_open) == (STATUS.CANCELED, False)


def test_needless_jobs_are_removed_and_needed_ones_stay(
    instance: dg.DagsterInstance, launches: Launches, backend: Backend
) -> None:
    launch = launches.last(start(instance, STATUS.STARTED).run_id)
    assert launch is not None
    needed = Orphan(launch.id, launch.fencing_token, "needed", "ns", "1")
    former = replace(needed, fencing_token=0, name="former")
    unknown = replace(needed, launch_id="unknown", name="unknown")
    backend.listed = [needed, former, unknown]
    Reconciler(instance).look_once()
    assert [one.name for one in backend.removed] == ["former", "unknown"]


def test_what_dies_before_it_takes_its_lease_is_not_started_for_ever(
    instance: dg.DagsterInstance, launches: Launches, backend: Backend
) -> None:
    run = start(instance)
    launch = launches.last(run.run_id)
    assert launch is not None
    backend.seen = LaunchStatus(State.ENDED, "no module named ml_platform", DIED)
    for look in range(8):
        now = launches.get(launch.id)
        launches.created(now, f"uid {look}")
        launches._update({"waiting_until": None}, LAUNCHES.c.id == launch.id)  # its time has come
        Reconciler(instance).look_once()
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    assert found.status is STATUS.FAILURE
    assert launches.get(launch.id).outcome == REFUSED
    text = "\n".join(str(entry.message) for entry in instance.all_logs(run.run_id))
    assert "Not launched, after 4 tries: it ended before it began: no module named ml_platform" in text


def test_a_run_that_a_process_had_is_not_launched_again_by_a_daemon_that_was_slow(
    instance: dg.DagsterInstance, launches: Launches, backend: Backend
) -> None:
    run = start(instance, STATUS.STARTED)
    launch = launches.last(run.run_id)
    assert launch is not None
    holder = Holder()
    launches.acquire(launch.lease_id, holder)
    event = DagsterEvent(DagsterEventType.PIPELINE_SUCCESS.value, run.job_name)
    instance.report_dagster_event(event, run_id=run.run_id)
    launches.release(launch, ENDED, secret=holder.secret)
    starting = DagsterEvent(DagsterEventType.PIPELINE_STARTING.value, run.job_name)
    instance.report_dagster_event(starting, run_id=run.run_id)
    instance.run_launcher.launch_run(LaunchRunContext(run, None))
    assert len(backend.started) == 1
    look_after_a_while(instance)
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    assert found.status is STATUS.SUCCESS, "as its log says"


def test_a_run_whose_refusal_nobody_wrote_down_fails(
    instance: dg.DagsterInstance, launches: Launches, backend: Backend
) -> None:
    run = start(instance)
    launch = launches.last(run.run_id)
    assert launch is not None
    launches.release(launch, REFUSED, "may not create jobs", unleased=True)
    look_after_a_while(instance)
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    assert found.status is STATUS.FAILURE
    assert "refused; may not create jobs" in "\n".join(str(one.message) for one in instance.all_logs(run.run_id))
    count = len(instance.all_logs(run.run_id))
    look_after_a_while(instance)
    assert len(instance.all_logs(run.run_id)) == count


def look_after_a_while(instance: dg.DagsterInstance) -> None:
    with time_machine.travel(time.time() + 120, tick=True):
        Reconciler(instance).look_once()
