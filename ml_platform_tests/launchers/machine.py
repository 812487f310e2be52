"""A machine that starts, takes leases, ends, kills, retries and waits in any order, on a clock of its own.

The launch table, the launcher, the coordinator and the reconciler are the real ones, on a real instance; what is played
are the clusters, the pods and Dagster's daemon, each of which may stop anywhere.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar, TypeVar

import dagster as dg
import time_machine
from dagster import DagsterEvent, DagsterEventType, RunsFilter, SubmitRunContext
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ml_platform.compat.dagster import LaunchRunContext, ResumeRunContext, WorkerStatus
from ml_platform.errors import LaunchError
from ml_platform.launchers.backends.protocol import Context, LaunchStatus, Orphan, RetryLater, State
from ml_platform.launchers.leases.schema import DIED, ENDED, EVICTED, OUT_OF_MEMORY, Holder, Launch, work_of
from ml_platform.launchers.leases.table import Launches
from ml_platform.launchers.routes import Route
from ml_platform.launchers.runs.reconciler import Reconciler
from ml_platform.launchers.runs.run_launcher import RoutingRunLauncher
from ml_platform.launchers.tag_policy import WAITING_TAG
from ml_platform_tests.dagster_internals import (
    GrpcServerCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
    create_run_for_test,
)

T = TypeVar("T")
STATUS = dg.DagsterRunStatus
ESCALATIONS = {"cpu": ("cpu",), "gpu": ("gpu",), "escalating": ("cpu", "gpu"), "mixed": ("cpu",)}
HOWS = {"died": DIED, "ran out of memory": OUT_OF_MEMORY, "evicted": EVICTED}
MODES = [*["well"] * 6, "quota", "away", "cuts", "kills before", "kills after"]
NUMBERS = st.integers(0, 2**32 - 1)
RESUMES = 3

Act = Callable[["Machine", "Choice"], None]
ACTS: list[tuple[Act, int, Callable[["Machine"], Any]]] = []


def possible(when: Callable[["Machine"], Any], weight: int = 6) -> Callable[[Act], Act]:
    """Marks what may happen, when, and how often beside the rest."""

    def marked(act: Act) -> Act:
        ACTS.append((act, weight, when))
        return act

    return marked


class Choice:
    """Chooses by a number that was drawn: whatever there is to choose from, hypothesis draws alike."""

    def __init__(self, number: int):
        self.number = number

    def of(self, among: Sequence[T]) -> T:
        self.number, nth = divmod(self.number, len(among))
        return among[nth]


_EXAMPLES = count()
_LOCATION = GrpcServerCodeLocationOrigin("nowhere", 1, None, "location")
ORIGIN = RemoteJobOrigin(RemoteRepositoryOrigin(_LOCATION, "repository"), "job")


class Killed(BaseException):
    """Whoever was at work is no more."""


@dataclass
class Pod:
    """What a cluster started for a launch."""

    launch_id: str
    fencing_token: int
    run_id: str
    step: str
    name: str
    uid: str
    state: str = "pending"  # or running, or over
    outcome: str = ENDED
    secret: str | None = None
    is_resuming: bool = False


class PlayedCluster:
    """A backend whose pods do what the machine has them do."""

    acquires_lease = True

    def __init__(self, name: str, launches: Launches, kinds: dict[str, str]):
        self.name = name
        self.launches = launches
        self.kinds = kinds  # run to kind
        self.pods: dict[str, Pod] = {}  # by name; a name is given once
        self.mode = "well"
        self._uids = count()

    def _touch(self, launch: Launch) -> None:
        kind = self.kinds.get(launch.work.run_id, "gpu")
        assert self.name != "gpu" or kind != "cpu", "a gpu launcher was touched for a run that needs none"

    def create(self, launch: Launch, *, is_resuming: bool) -> None:
        self._touch(launch)
        if self.mode in ("quota", "away"):
            raise RetryLater(f"{self.name}: {self.mode}")
        name = f"{launch.work.run_id}{launch.work.step}-{launch.attempt}-{launch.fencing_token}"
        if not self.launches.specify(launch, "the same", name, "ns"):
            return
        if self.mode == "kills before":
            raise Killed
        if name not in self.pods:
            work, uid = launch.work, f"uid-{next(self._uids)}"
            self.pods[name] = Pod(
                launch.id, launch.fencing_token, work.run_id, work.step, name, uid, is_resuming=is_resuming
            )
        if self.mode == "cuts":
            raise RetryLater("the answer was lost")
        if self.mode == "kills after":
            raise Killed
        self.launches.created(launch, self.pods[name].uid)

    def start(self, launch: Launch, context: Context) -> None:
        self.create(launch, is_resuming=isinstance(context, ResumeRunContext))

    def look(self, launch: Launch) -> LaunchStatus:
        self._touch(launch)
        if self.mode == "away":
            return LaunchStatus(State.UNREACHABLE, "away")
        pod = self.pods.get(launch.name or "")
        if pod is None:
            return LaunchStatus(State.ABSENT, "not there")
        return (
            LaunchStatus(State.ENDED, "over", pod.outcome)
            if pod.state == "over"
            else LaunchStatus(State.RUNNING, pod.state)
        )

    def end(self, launch: Launch) -> None:
        self._touch(launch)
        if self.mode == "away":
            raise RetryLater("away")
        if launch.name in self.pods and self.pods[launch.name].state != "over":
            self.pods[launch.name].state, self.pods[launch.name].outcome = "over", DIED

    def orphans(self) -> Iterable[Orphan]:
        if self.mode == "away":
            raise RetryLater("away")
        return [Orphan(pod.launch_id, pod.fencing_token, pod.name, "ns", pod.uid) for pod in self.active()]

    def remove(self, orphan: Orphan) -> None:
        self.pods[orphan.name].state = "over"

    def active(self) -> list[Pod]:
        return [pod for pod in self.pods.values() if pod.state != "over"]


class Machine(RuleBasedStateMachine):
    """Drives the platform; the invariants are what it promises."""

    instance: ClassVar[dg.DagsterInstance]
    steps: ClassVar[Counter[str]] = Counter()

    @initialize()
    def begin(self) -> None:
        launcher = self.instance.run_launcher
        assert isinstance(launcher, RoutingRunLauncher)
        self.launcher, self.launches = launcher, Launches.of(self.instance)
        self.travel = time_machine.travel(1_800_000_000 + 10_000 * next(_EXAMPLES), tick=False)
        self.clock = self.travel.start()
        self.kinds: dict[str, str] = {}
        self.clusters = {name: PlayedCluster(name, self.launches, self.kinds) for name in ("cpu", "gpu")}
        self.resumes: Counter[str] = Counter()
        self.finished: Counter[str] = Counter()
        self.deaths: Counter[str] = Counter()
        launcher.starter._backends = dict(self.clusters)
        launcher.starter._route_of = launcher.route = self._route  # type: ignore[method-assign, assignment]
        launcher.starter._escalation_of = lambda run, _step: ESCALATIONS[self.kinds[run.run_id]]  # type: ignore[method-assign]

    def _route(self, run: dg.DagsterRun, _tags: Any = None) -> Route:
        escalation = ESCALATIONS[self.kinds[run.run_id]]
        level = min(self.launcher.starter.level_of(run, "work"), len(escalation) - 1)
        return Route(escalation[level], {"elsewhere": "gpu"} if self.kinds[run.run_id] == "mixed" else {})

    def _run(self, run_id: str) -> dg.DagsterRun:
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return run

    def _pods(self, *states: str) -> list[tuple[PlayedCluster, Pod]]:
        return [(one, pod) for one in self.clusters.values() for pod in one.pods.values() if pod.state in states]

    @rule(number=NUMBERS, inner=NUMBERS)
    def happens(self, number: int, inner: int) -> None:
        acts = [act for act, weight, when in ACTS if when(self) for _ in range(weight)]
        act = Choice(number).of(acts)
        self.steps[act.__name__] += 1
        act(self, Choice(inner))

    # What users and the daemon do

    @possible(lambda self: len(self.kinds) < 4)
    def start(self, choice: Choice) -> None:
        run = create_run_for_test(self.instance, status=STATUS.NOT_STARTED, remote_job_origin=ORIGIN)
        self.kinds[run.run_id] = choice.of([*sorted(ESCALATIONS), *["mixed"] * 4])
        self.instance.run_coordinator.submit_run(SubmitRunContext(run, None))  # type: ignore[arg-type]

    @possible(lambda self: self._of(STATUS.QUEUED))
    def dequeue(self, _choice: Choice) -> None:
        self._dequeue()

    def _dequeue(self) -> None:
        config = self.instance.get_concurrency_config().run_queue_config
        assert config is not None
        kept_back = {limit["value"] for limit in config.tag_concurrency_limits if limit["key"] == WAITING_TAG}
        for run_id in self._of(STATUS.QUEUED):
            if self._run(run_id).tags.get(WAITING_TAG) not in kept_back:
                event = DagsterEvent(DagsterEventType.PIPELINE_STARTING.value, self._run(run_id).job_name)
                self.instance.report_dagster_event(event, run_id=run_id)
                self._launch(run_id)

    @possible(lambda self: self._of(STATUS.QUEUED))
    def dequeue_and_be_killed(self, _choice: Choice) -> None:
        run = self._run(self._of(STATUS.QUEUED)[0])
        event = DagsterEvent(DagsterEventType.PIPELINE_STARTING.value, run.job_name)
        self.instance.report_dagster_event(event, run_id=run.run_id)

    @possible(lambda self: self._of(STATUS.STARTING), weight=2)
    def launch_a_second_time(self, choice: Choice) -> None:
        self._launch(choice.of(self._of(STATUS.STARTING)))

    def _launch(self, run_id: str) -> None:
        """Launches as the daemon does: what raises fails the run."""
        with suppress(Killed):
            try:
                self.launcher.launch_run(LaunchRunContext(self._run(run_id), None))
            except LaunchError:
                self.instance.report_run_failed(self._run(run_id))

    @possible(lambda self: self._of(STATUS.STARTED, STATUS.STARTING, STATUS.QUEUED), weight=1)
    def terminate(self, choice: Choice) -> None:
        run_id = choice.of(self._of(STATUS.STARTED, STATUS.STARTING, STATUS.QUEUED))
        with suppress(Killed):
            self.instance.run_coordinator.cancel_run(run_id)

    @possible(lambda self: self._of(STATUS.STARTED), weight=3)
    def monitor(self, _choice: Choice) -> None:
        self._monitor()

    def _monitor(self) -> None:
        for run_id in self._of(STATUS.STARTED):
            with suppress(Killed):
                health = self.launcher.check_run_worker_health(self._run(run_id))
                if health.status is WorkerStatus.RUNNING or self._run(run_id).status is not STATUS.STARTED:
                    continue
                if self.resumes[run_id] < RESUMES:
                    self.resumes[run_id] += 1
                    self.launcher.resume_run(ResumeRunContext(self._run(run_id), None, self.resumes[run_id]))
                else:
                    self.instance.report_run_failed(self._run(run_id), str(health.msg))

    @possible(lambda self: self.kinds, weight=3)
    def reconcile(self, _choice: Choice) -> None:
        self._reconcile()

    def _reconcile(self) -> None:
        with suppress(Killed):
            Reconciler(self.instance).look_once()

    @possible(lambda self: True, weight=2)
    def time_passes(self, choice: Choice) -> None:
        for _, pod in self._pods("running"):
            self._heartbeat(pod)
        self.clock.shift(choice.of([0.5, 3.0, 12.0, 40.0, 100.0]))

    @possible(lambda self: True, weight=2)
    def change(self, choice: Choice) -> None:
        choice.of(list(self.clusters.values())).mode = choice.of(MODES)

    # What pods do

    @possible(lambda self: self._pods("running"), weight=3)
    def heartbeats(self, _choice: Choice) -> None:
        for _, pod in self._pods("running"):
            self._heartbeat(pod)

    @possible(lambda self: self._pods("pending"))
    def take_lease(self, choice: Choice) -> None:
        self._take_lease(choice.of(self._pods("pending"))[1])

    def _take_lease(self, pod: Pod) -> None:
        holder = Holder(host="a host", pid=1)
        if not self.launches.acquire(f"{pod.launch_id}.{pod.fencing_token}", holder):
            pod.state = "over"
            return
        pod.state, pod.secret = "running", holder.secret
        run = self._run(pod.run_id)
        if run.is_finished or run.status is STATUS.CANCELING:
            self._leave(pod)
        elif pod.step:
            return
        elif run.status is STATUS.STARTING:
            event = DagsterEvent(DagsterEventType.PIPELINE_START.value, run.job_name)
            self.instance.report_dagster_event(event, run_id=run.run_id)
        else:
            assert run.status is STATUS.STARTED, run.status
            assert pod.is_resuming, "a run that had begun is executed from its beginning"

    def _senders(self) -> list[Pod]:
        return [pod for _, pod in self._pods("running") if self.kinds[pod.run_id] == "mixed" and not pod.step]

    @possible(lambda self: self._senders())
    def send_a_step(self, choice: Choice) -> None:
        run = self._run(choice.of(self._senders()).run_id)
        launch = self.launches.intend(work_of(run, "elsewhere"), "gpu")
        if launch.acquired is None and launch.created is None and launch.ending is None:
            with suppress(Killed):
                try:
                    self.clusters["gpu"].create(launch, is_resuming=False)
                except RetryLater as retry_later:
                    self.launches.put_off(launch, str(retry_later), 0.0)

    @possible(lambda self: self._pods("running"))
    def finish(self, choice: Choice) -> None:
        """A pod comes to its end; it may be killed between saying so and releasing its launch."""
        self._finish(choice.of(self._pods("running"))[1], is_killed=choice.of([False, True]))

    def _finish(self, pod: Pod, *, is_killed: bool = False) -> None:
        run = self._run(pod.run_id)
        with self.launches.publishing(pod.launch_id, str(pod.secret)) as may_publish:
            is_mine = may_publish
        if is_mine and not run.is_finished:
            if run.status is STATUS.CANCELING and not pod.step:
                self.instance.report_run_canceled(run)
            elif not pod.step:
                self.finished[pod.run_id] += 1
                event = DagsterEvent(DagsterEventType.PIPELINE_SUCCESS.value, run.job_name)
                self.instance.report_dagster_event(event, run_id=run.run_id)
        if is_killed:
            pod.state, pod.outcome = "over", DIED
        else:
            self._leave(pod)

    def _leave(self, pod: Pod) -> None:
        pod.state, pod.outcome = "over", ENDED
        self.launches.release(self.launches.get(pod.launch_id), ENDED, secret=pod.secret)

    @possible(lambda self: self._pods("running", "pending"))
    def die(self, choice: Choice) -> None:
        _, pod = choice.of(self._pods("running", "pending"))
        how = choice.of(sorted(HOWS))
        if pod.state == "running" and not pod.step and how == "ran out of memory":
            # Its process had a step under way.
            launch = self.launches.get(pod.launch_id)
            self.launches.intend(work_of(self._run(pod.run_id), "work"), launch.launcher, within=launch.id)
        self.deaths[pod.run_id] += 1
        pod.state, pod.outcome = "over", HOWS[how]

    def _heartbeat(self, pod: Pod) -> None:
        launch = self.launches.renew(pod.launch_id, str(pod.secret), 1.0, 2**20)
        if launch is None:
            pod.state, pod.outcome = "over", DIED  # its work is another's
        elif launch.ending is not None:
            self._finish(pod)

    # What is promised

    def _of(self, *statuses: dg.DagsterRunStatus) -> list[str]:
        return [run_id for run_id, status in getattr(self, "statuses", {}).items() if status in statuses]

    def _look(self) -> None:
        """Reads what became of all runs, once after each rule."""
        runs = self.instance.get_runs(RunsFilter(run_ids=list(self.kinds))) if self.kinds else []
        self.statuses = {
            run.run_id: run.status for run in sorted(runs, key=lambda run: list(self.kinds).index(run.run_id))
        }

    @invariant()
    def no_work_is_done_twice(self) -> None:
        if hasattr(self, "kinds"):
            self._look()
        workers: Counter[tuple[str, str]] = Counter()
        for _, pod in self._pods("running") if hasattr(self, "kinds") else ():
            with self.launches.publishing(pod.launch_id, str(pod.secret)) as is_held:
                workers[pod.run_id, pod.step] += is_held
        assert all(number <= 1 for number in workers.values()), workers
        assert all(number <= 1 for number in getattr(self, "finished", Counter()).values())

    def teardown(self) -> None:
        if not hasattr(self, "kinds"):
            return
        try:
            self._settle()
        finally:
            self.travel.stop()

    def _settle(self) -> None:
        """From here on nothing goes wrong: everything comes to its end."""
        for cluster in self.clusters.values():
            cluster.mode = "well"
        for _ in range(40):
            self.clock.shift(31.0)
            self._look()
            if self._of(STATUS.QUEUED):
                self._dequeue()
            for _, pod in self._pods("pending"):
                self._take_lease(pod)
            for _, pod in self._pods("running"):
                self._heartbeat(pod)
                if pod.state == "running":
                    self._finish(pod)
            self._look()
            self._monitor()
            self._reconcile()
            self._look()
            if not self._unsettled():
                break
        assert not self._unsettled(), self._unsettled()
        for run_id, kind in self.kinds.items():
            status = self._run(run_id).status
            assert status in (STATUS.SUCCESS, STATUS.CANCELED) or self.deaths[run_id] > 0, f"{kind} {run_id}: {status}"
            assert self.finished[run_id] == (status is STATUS.SUCCESS), f"{run_id}: {status}, {self.finished[run_id]}"

    def _unsettled(self) -> list[str]:
        open_runs = [
            f"run {run_id} is {self._run(run_id).status}" for run_id in self.kinds if not self._run(run_id).is_finished
        ]
        rows = [
            f"launch {one.lease_id} is open"
            for run_id in self.kinds
            for one in self.launches.of_run(run_id)
            if one.is_open
        ]
        return [*open_runs, *rows, *(f"pod {pod.name} is {pod.state}" for _, pod in self._pods("pending", "running"))]
