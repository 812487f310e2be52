"""Each fence by itself: what may be done once is done once, whoever asks, and what is not known is not taken for done.

`test_mutants` breaks these fences one by one, and these tests must notice.
"""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import kubernetes
import pytest
from dagster._core.launcher import LaunchRunContext, WorkerStatus
from dagster._core.test_utils import create_run_for_test
from dagster_k8s.client import DagsterKubernetesClient
from kubernetes.client import BatchV1Api, CoreV1Api

from ml_platform.artifacts import ArtifactStore
from ml_platform.artifacts.store import Origin
from ml_platform.errors import LaunchError
from ml_platform.launchers import claim
from ml_platform.launchers.claim import Claim
from ml_platform.launchers.coordinator import WAITING_TAG, RoutingRunCoordinator
from ml_platform.launchers.jobs import JobSite
from ml_platform.launchers.reconcile import Reconciler
from ml_platform.launchers.routes import Route
from ml_platform.launchers.routing import RoutingRunLauncher
from ml_platform.launchers.schema import DIED, ENDED, EVICTED, OUT_OF_MEMORY, REFUSED, Holder, Launch, Work, work_of
from ml_platform.launchers.sites import Busy, Patience, Seen, State, Stray
from ml_platform.launchers.table import Launches
from ml_platform_tests.kubernetes import Cluster, Fault
from ml_platform_tests.launchers.cases import QUOTA
from ml_platform_tests.launchers.machine import ORIGIN
from ml_platform_tests.launchers.rig import event_log, instance_yaml, local

STATUS = dg.DagsterRunStatus
WORK = Work("run", "run", "job")


@pytest.fixture(scope="module")
def shared_instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    tmp_path = tmp_path_factory.mktemp("instance")
    queue = {"module": "ml_platform.launchers", "class": "RoutingRunCoordinator"}
    launchers = {"cpu": local("cpu"), "gpu": local("gpu")}
    patience = {"first_seconds": 5.0, "longest_seconds": 60.0, "grace_seconds": 30.0}
    text = instance_yaml(launchers, patience=patience, run_coordinator=queue, event_log_storage=event_log(tmp_path))
    (tmp_path / "dagster.yaml").write_text(text)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


@pytest.fixture
def instance(shared_instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """The instance, with nothing open of the tests before."""
    for run in shared_instance.get_runs():
        shared_instance.delete_run(run.run_id)
    for launch in Launches.of(shared_instance).open():
        Launches.of(shared_instance).release(launch, ENDED)
    return shared_instance


@pytest.fixture
def launches(instance: dg.DagsterInstance) -> Launches:
    return Launches.of(instance)


@pytest.fixture
def launch(launches: Launches) -> Launch:
    work = replace(WORK, run_id=uuid.uuid4().hex)
    return launches.intend(work, "cpu", Route("cpu", {}))


class TestTable:
    def test_a_piece_of_work_has_one_open_launch(self, launches: Launches, launch: Launch) -> None:
        assert launches.intend(launch.work, "gpu") == launch
        assert launches.release(launch, ENDED)
        second = launches.intend(launch.work, "gpu")
        assert (second.attempt, second.launcher, second.id != launch.id) == (2, "gpu", True)

    def test_a_launch_is_claimed_once(self, launches: Launches, launch: Launch) -> None:
        first = Holder()
        assert launches.claim(launch.ticket, first)
        assert not launches.claim(launch.ticket, Holder())
        assert launches.claim(launch.ticket, first), "its answer was lost: the same process asks again"
        assert launches.get(launch.id).token == first.token

    def test_what_was_put_off_is_not_claimed_by_what_was_started_before(
        self, launches: Launches, launch: Launch
    ) -> None:
        later = launches.put_off(launch, "an answer was lost", time.time())
        assert not launches.claim(launch.ticket, Holder())
        assert launches.claim(later.ticket, Holder())

    def test_what_is_claimed_is_not_put_off(self, launches: Launches, launch: Launch) -> None:
        assert launches.claim(launch.ticket, Holder())
        assert launches.put_off(launch, "an answer was lost", time.time()).generation == 1

    def test_what_is_to_end_or_closed_is_not_claimed(self, launches: Launches, launch: Launch) -> None:
        launches.end(launch)
        assert not launches.claim(launch.ticket, Holder())
        assert launches.release(launch, ENDED)
        closed = launches.intend(launch.work, "cpu")
        assert launches.release(closed, ENDED)
        assert not launches.claim(closed.ticket, Holder())

    def test_one_specification_is_created_for_a_generation(self, launches: Launches, launch: Launch) -> None:
        assert launches.specify(launch, "one", "name", None)
        assert launches.specify(launch, "one", "name", None)
        assert not launches.specify(launch, "another", "name", None)
        later = launches.put_off(launch, "other settings", time.time())
        assert not launches.specify(launch, "one", "name", None)
        assert launches.specify(later, "another", "name", None)

    def test_what_was_created_for_a_former_generation_does_not_count(self, launches: Launches, launch: Launch) -> None:
        later = launches.put_off(launch, "an answer was lost", time.time())
        assert not launches.created(launch, "uid")
        assert launches.get(launch.id).created is None
        assert launches.created(later, "uid")

    def test_only_the_holder_reports_publishes_and_releases_by_its_token(
        self, launches: Launches, launch: Launch
    ) -> None:
        holder = Holder()
        launches.claim(launch.ticket, holder)
        assert launches.heard(launch.id, "other", 1.0, 1) is None
        with launches.publishing(launch.id, "other") as is_held:
            assert not is_held
        assert not launches.release(launch, ENDED, token="other")
        assert not launches.release(launch, ENDED, unclaimed=True)
        with launches.publishing(launch.id, holder.token) as is_held:
            assert is_held
        assert launches.release(launch, ENDED, token=holder.token)
        assert launches.heard(launch.id, holder.token, 1.0, 1) is None
        with launches.publishing(launch.id, holder.token) as is_held:
            assert not is_held

    def test_something_is_begun_once(self, launches: Launches, launch: Launch) -> None:
        assert launches.begin(launch)
        assert not launches.begin(launch)

    def test_the_most_memory_stays(self, launches: Launches, launch: Launch) -> None:
        holder = Holder()
        launches.claim(launch.ticket, holder)
        launches.heard(launch.id, holder.token, 1.0, 100)
        launches.heard(launch.id, holder.token, 2.0, 50)
        found = launches.get(launch.id)
        assert (found.peak_bytes, found.cpu_seconds) == (100, 2.0)

    def test_an_outcome_once_found_is_not_changed_by_another_look(self, launches: Launches, launch: Launch) -> None:
        launches.judge(launch, OUT_OF_MEMORY, "first")
        launches.judge(launch, DIED, "second")
        assert launches.get(launch.id).outcome == OUT_OF_MEMORY


class TestClaim:
    @pytest.fixture
    def wrapper(
        self, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Callable[[str], int]]:
        """The wrapper, in this process, around a command that leaves a mark."""
        monkeypatch.setenv("DAGSTER_HOME", instance.root_directory)
        monkeypatch.setattr(claim, "instance_ref_of", lambda *_: None)
        yield lambda ticket: claim.main([ticket, "sh", "-c", f"echo x >> {tmp_path / 'marks'}"])
        claim._Process.claim = None
        monkeypatch.delenv("ML_PLATFORM_CLAIM", raising=False)

    def test_the_loser_does_nothing_and_exits_0(
        self,
        instance: dg.DagsterInstance,
        launches: Launches,
        launch: Launch,
        tmp_path: Path,
        wrapper: Callable[[str], int],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert wrapper(launch.ticket) == 0
        assert launches.get(launch.id).outcome == ENDED
        assert wrapper(launch.ticket) == 0
        assert "Nothing to do here" in capsys.readouterr().out
        assert (tmp_path / "marks").read_text() == "x\n"
        assert instance.all_logs(launch.work.run_id) == []

    def test_a_lost_claim_publishes_nothing(self, launches: Launches, launch: Launch, tmp_path: Path) -> None:
        holder = Holder()
        launches.claim(launch.ticket, holder)
        lost: list[str] = []

        def note() -> None:
            lost.append("lost")
            raise ConnectionAbortedError

        held = Claim(launches, launch.id, holder.token, note)
        store = ArtifactStore(str(tmp_path / "store")).fenced_by(held.publishing)

        def write(folder: Path) -> dict[str, Any]:
            (folder / "a").write_text("a")
            return {}

        origin = Origin(recipe={"a": 1})
        made = store.add("asset", None, "frame", write, origin)
        launches.release(launch, DIED, "taken over")
        for publish in (
            lambda: store.add("other", None, "frame", write, Origin(recipe={"b": 1})),
            lambda: store.promote([made]),
        ):
            with pytest.raises(ConnectionAbortedError):
                publish()
        assert len(lost) == 2
        names = [str(path.relative_to(tmp_path / "store")) for path in (tmp_path / "store").rglob("*.json")]
        assert not [name for name in names if name.startswith("heads") or "other" in name], names
        assert len([name for name in names if name.startswith("addresses")]) == 1

    def test_without_a_claim_everything_is_published(self, tmp_path: Path) -> None:
        with claim.publishing():
            pass
        assert claim.current() is None


def test_a_launcher_has_one_site_however_many_threads_launch(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher, made = instance.run_launcher, []
    assert isinstance(launcher, RoutingRunLauncher)

    def make(*_: Any) -> Site:
        time.sleep(0.05)
        made.append(Site())
        return made[-1]

    monkeypatch.setattr(launcher.launching, "_sites", {})
    monkeypatch.setattr(launcher.children, "kind", lambda _: SimpleNamespace(site=make))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: launcher.launching.site("cpu"), range(4)))
    assert len(made) == 1
    assert all(one is made[0] for one in found)


class Site:
    """A site that says what it is told to say."""

    claims = True

    def __init__(self) -> None:
        self.seen = Seen(State.RUNNING)
        self.busy: Busy | None = None
        self.started: list[Launch] = []
        self.ended: list[Launch] = []
        self.removed: list[Stray] = []
        self.listed: list[Stray] = []

    def start(self, launch: Launch, _context: Any) -> None:
        if self.busy is not None:
            raise self.busy
        self.started.append(launch)

    def look(self, _launch: Launch) -> Seen:
        return self.seen

    def end(self, launch: Launch) -> None:
        self.ended.append(launch)

    def strays(self) -> list[Stray]:
        return self.listed

    def remove(self, stray: Stray) -> None:
        self.removed.append(stray)


class TestLaunching:
    @pytest.fixture
    def site(self, instance: dg.DagsterInstance) -> Site:
        launcher, site = instance.run_launcher, Site()
        assert isinstance(launcher, RoutingRunLauncher)
        launcher.launching._sites = {"cpu": site, "gpu": Site()}
        ladder = ("cpu", "gpu")
        launcher.launching._ladder_of = lambda *_: ladder  # type: ignore[method-assign]
        launcher.launching._route_of = lambda run: Route(ladder[min(launcher.launching.rung_of(run, "step"), 1)], {})
        launcher.route = lambda run, _tags=None: Route("cpu", {})  # type: ignore[method-assign, assignment]
        return site

    def start(self, instance: dg.DagsterInstance, status: dg.DagsterRunStatus = STATUS.STARTING) -> dg.DagsterRun:
        run = create_run_for_test(instance, status=status, remote_job_origin=ORIGIN)
        instance.run_launcher.launch_run(LaunchRunContext(run, None))
        return run

    def test_what_is_at_work_is_not_started_again(
        self, instance: dg.DagsterInstance, launches: Launches, site: Site
    ) -> None:
        run = self.start(instance)
        launch = launches.last(run.run_id)
        assert launch is not None
        launches.claim(launch.ticket, Holder())
        instance.run_launcher.launch_run(LaunchRunContext(run, None))
        assert len(site.started) == 1

    def test_unreachable_is_not_dead(self, instance: dg.DagsterInstance, launches: Launches, site: Site) -> None:
        run = self.start(instance, STATUS.STARTED)
        launch = launches.last(run.run_id)
        assert launch is not None
        launches.claim(launch.ticket, Holder())
        site.seen = Seen(State.UNREACHABLE, "away")
        assert instance.run_launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
        Reconciler(instance).look_once()
        assert launches.get(launch.id).is_open
        site.seen = Seen(State.ENDED, "gone", DIED)
        assert instance.run_launcher.check_run_worker_health(run).status is WorkerStatus.FAILED

    def test_an_open_launch_is_not_resumed(self, instance: dg.DagsterInstance, launches: Launches, site: Site) -> None:
        run = self.start(instance, STATUS.STARTED)
        launch = launches.last(run.run_id)
        assert launch is not None
        launches.claim(launch.ticket, Holder())
        instance.run_launcher.resume_run(SimpleNamespace(dagster_run=run))  # type: ignore[arg-type]
        assert launches.last(run.run_id) == launches.get(launch.id)
        assert len(site.started) == 1

    def test_a_busy_launcher_keeps_its_run_waiting_and_no_other(
        self, instance: dg.DagsterInstance, launches: Launches, site: Site
    ) -> None:
        site.busy = Busy("quota", 90.0)
        run = self.start(instance)
        found = instance.get_run_by_id(run.run_id)
        launch = launches.last(run.run_id)
        assert found is not None
        assert launch is not None
        assert (found.status, launch.generation, launch.tries) == (STATUS.QUEUED, 2, 1)
        assert launch.waiting_until is not None
        assert launch.waiting_until - time.time() > 80
        coordinator = instance.run_coordinator
        assert isinstance(coordinator, RoutingRunCoordinator)
        kept_back = coordinator.get_run_queue_config().tag_concurrency_limits
        assert kept_back == [{"key": WAITING_TAG, "value": found.tags[WAITING_TAG], "limit": 0}]
        told = [str(entry.message) for entry in instance.all_logs(run.run_id) if "busy" in str(entry.message)]
        assert len(told) == 1

    def test_what_was_started_though_nobody_said_so_is_not_queued_again(
        self, instance: dg.DagsterInstance, launches: Launches, site: Site
    ) -> None:
        run = create_run_for_test(instance, status=STATUS.STARTING, remote_job_origin=ORIGIN)

        def start(launch: Launch, _context: Any) -> None:
            launches.claim(launch.ticket, Holder())
            raise Busy("the answer was lost")

        site.start = start  # type: ignore[method-assign]
        instance.run_launcher.launch_run(LaunchRunContext(run, None))
        found = instance.get_run_by_id(run.run_id)
        assert found is not None
        assert found.status is STATUS.STARTING

    def test_what_can_never_start_is_closed_and_said(
        self, instance: dg.DagsterInstance, launches: Launches, site: Site
    ) -> None:
        def start(*_: Any) -> None:
            raise LaunchError("never")

        site.start = start  # type: ignore[method-assign]
        run = create_run_for_test(instance, status=STATUS.STARTING, remote_job_origin=ORIGIN)
        with pytest.raises(LaunchError, match="never"):
            instance.run_launcher.launch_run(LaunchRunContext(run, None))
        last = launches.last(run.run_id)
        assert last is not None
        assert (last.outcome, last.reason) == (REFUSED, "never")

    def die(
        self,
        instance: dg.DagsterInstance,
        launches: Launches,
        site: Site,
        run: dg.DagsterRun,
        outcome: str,
        step: str = "",
    ) -> Launch | None:
        launch = launches.last(run.run_id)
        assert launch is not None
        launches.claim(launch.ticket, Holder())
        if step:
            launches.intend(work_of(run, step), launch.launcher, within=launch.id)
        site.seen = Seen(State.ENDED, "gone", outcome)
        Reconciler(instance).look_once()
        site.seen = Seen(State.RUNNING)
        return launches.last(run.run_id)

    def test_evicted_runs_go_on_where_they_were_a_few_times(
        self, instance: dg.DagsterInstance, launches: Launches, site: Site
    ) -> None:
        run = self.start(instance, STATUS.STARTED)
        for attempt in (2, 3, 4):
            last = self.die(instance, launches, site, run, EVICTED)
            assert last is not None
            assert (last.attempt, last.is_open, last.launcher) == (attempt, True, "cpu")
        last = self.die(instance, launches, site, run, EVICTED)
        assert last is not None
        assert (last.attempt, last.is_open) == (4, False)

    def test_out_of_memory_climbs_the_ladder_and_not_beyond(
        self, instance: dg.DagsterInstance, launches: Launches, site: Site
    ) -> None:
        run = self.start(instance, STATUS.STARTED)
        last = self.die(instance, launches, site, run, OUT_OF_MEMORY, "step")
        assert last is not None
        assert (last.attempt, last.launcher, last.is_open) == (2, "gpu", True)
        assert launches.tries_of(run.run_id, "step")[0].outcome == OUT_OF_MEMORY
        gpu = instance.run_launcher.launching.site("gpu")  # type: ignore[attr-defined]
        last = self.die(instance, launches, gpu, run, OUT_OF_MEMORY, "step")
        assert last is not None
        assert (last.attempt, last.is_open) == (2, False)
        assert "no launcher to climb to" in "\n".join(str(entry.message) for entry in instance.all_logs(run.run_id))

    def test_a_terminated_run_is_ended_until_it_is_gone(
        self, instance: dg.DagsterInstance, launches: Launches, site: Site
    ) -> None:
        run = self.start(instance, STATUS.STARTED)
        launch = launches.last(run.run_id)
        assert launch is not None
        launches.claim(launch.ticket, Holder())
        instance.run_launcher.terminate(run.run_id)
        for looks in (1, 2, 3):
            assert len(site.ended) == looks
            assert launches.get(launch.id).is_open
            Reconciler(instance).look_once()
        site.seen = Seen(State.ABSENT, "gone")
        Reconciler(instance).look_once()
        found = instance.get_run_by_id(run.run_id)
        assert found is not None
        assert (found.status, launches.get(launch.id).is_open) == (STATUS.CANCELED, False)

    def test_needless_jobs_are_removed_and_needed_ones_stay(
        self, instance: dg.DagsterInstance, launches: Launches, site: Site
    ) -> None:
        launch = launches.last(self.start(instance, STATUS.STARTED).run_id)
        assert launch is not None
        needed = Stray(launch.id, launch.generation, "needed", "ns", "1")
        former = replace(needed, generation=0, name="former")
        unknown = replace(needed, launch_id="unknown", name="unknown")
        site.listed = [needed, former, unknown]
        Reconciler(instance).look_once()
        assert [one.name for one in site.removed] == ["former", "unknown"]


class TestJobs:
    @pytest.fixture
    def cluster(self) -> Iterator[Cluster]:
        with Cluster("one", ("ml",), grace_seconds=1.0) as cluster:
            yield cluster

    @pytest.fixture
    def site(self, cluster: Cluster, instance: dg.DagsterInstance, launches: Launches, tmp_path: Path) -> JobSite:
        api = kubernetes.config.new_client_from_config(str(cluster.write_kubeconfig(tmp_path / "config")))
        client = DagsterKubernetesClient.production_client(BatchV1Api(api), CoreV1Api(api))
        launcher = SimpleNamespace(_api_client=client, job_namespace="ml", _instance=instance)
        return JobSite(launcher, launches, Patience(grace_seconds=0.5))

    def body(self, command: tuple[str, ...] = ("true",), **container: Any) -> Any:
        container = {"name": "dagster", "image": "x", "command": list(command), "args": ["dagster", "api"], **container}
        pod = {"metadata": {"name": "job"}, "spec": {"restartPolicy": "Never", "containers": [container]}}
        text = {"metadata": {"name": "job"}, "spec": {"template": pod, "backoffLimit": 4}}
        api = kubernetes.client.ApiClient()
        return api.deserialize(SimpleNamespace(data=json.dumps(text)), "V1Job")

    def create(self, site: JobSite, launch: Launch, body: Any = None) -> None:
        with site.client.creating(launch):
            site.client.create_namespaced_job_with_retries(body or self.body(), "ml")

    def test_a_job_claims_runs_once_and_ends(
        self, cluster: Cluster, site: JobSite, launches: Launches, launch: Launch
    ) -> None:
        self.create(site, launch)
        (job,) = cluster.jobs.values()
        container = job["spec"]["template"]["spec"]["containers"][0]
        assert container["command"] == ["true", "python", "-m", "ml_platform.launchers", launch.ticket]
        assert container["args"] == ["dagster", "api"]
        assert (job["spec"]["backoffLimit"], job["spec"]["activeDeadlineSeconds"]) == (0, 7 * 24 * 3600)
        assert launches.get(launch.id).uid == job["metadata"]["uid"]

    def test_the_same_job_is_adopted_and_another_is_not(
        self, cluster: Cluster, site: JobSite, launches: Launches, launch: Launch
    ) -> None:
        cluster.faults = [Fault("POST", "/jobs$", kind="cut after")]
        with pytest.raises(Busy):
            self.create(site, launch)
        self.create(site, launch)  # the launch was not put off: it is the same job
        assert launches.get(launch.id).uid == cluster.jobs["ml", "job"]["metadata"]["uid"]
        assert len(cluster.jobs) == 1
        other = launches.intend(replace(WORK, run_id=uuid.uuid4().hex), "cpu")
        with pytest.raises(LaunchError, match=r"job job exists in namespace ml, and is not what .* would create"):
            self.create(site, other)
        assert launches.get(other.id).created is None

    @pytest.mark.parametrize("fault", [
        QUOTA, {"code": 429, "headers": {"Retry-After": "7"}}, {"code": 500}, {"code": 503},
        {"kind": "cut before"},
    ], ids=str)  # fmt: skip
    def test_what_is_not_for_ever_waits(self, cluster: Cluster, site: JobSite, launch: Launch, fault: Any) -> None:
        cluster.faults = [Fault("POST", "/jobs$", **fault)]
        with pytest.raises(Busy) as caught:
            self.create(site, launch)
        assert caught.value.seconds == (7.0 if fault.get("code") == 429 else 0.0)

    def test_what_is_for_ever_is_refused(self, cluster: Cluster, site: JobSite, launch: Launch) -> None:
        cluster.faults = [Fault("POST", "/jobs$", code=403, message="may not create jobs")]
        with pytest.raises(LaunchError, match="may not create jobs"):
            self.create(site, launch)
        with site.client.creating(launch), pytest.raises(LaunchError, match="namespace nowhere is not there"):
            site.client.create_namespaced_job_with_retries(self.body(), "nowhere")

    def test_other_settings_wait_for_another_generation(
        self, site: JobSite, launches: Launches, launch: Launch
    ) -> None:
        launches.specify(launch, "what another version would create", "job", "ml")
        with pytest.raises(Busy, match="other settings"):
            self.create(site, launch)

    def test_who_cannot_be_asked_is_not_dead(
        self, cluster: Cluster, site: JobSite, launches: Launches, launch: Launch
    ) -> None:
        self.create(site, launch, self.body(("sh", "-c", "sleep 30")))
        launch = launches.get(launch.id)
        assert site.look(launch).state is State.RUNNING
        for path in (r"/jobs/", r"/pods$"):
            cluster.faults = [Fault("GET", path, code=500, times=9)]
            assert site.look(launch).state is State.UNREACHABLE
        cluster.faults = []
        with cluster.away():
            assert site.look(launch).state is State.UNREACHABLE
            with pytest.raises(Busy):
                site.end(launch)

    def test_a_job_that_is_not_there_is_gone_once_nothing_is_heard(
        self, cluster: Cluster, site: JobSite, launches: Launches, launch: Launch
    ) -> None:
        self.create(site, launch, self.body(("sh", "-c", "sleep 30")))
        holder = Holder()
        launches.claim(launch.ticket, holder)
        launches.heard(launch.id, holder.token, 0.0, 0)
        cluster.controller.delete_job(("ml", "job"), is_orphaning=True)
        assert site.look(launches.get(launch.id)).state is State.RUNNING, "its pod is there"
        for pod in list(cluster.pods):
            cluster.controller.delete_pod(pod)
        deadline = time.monotonic() + 10
        while cluster.pods and time.monotonic() < deadline:
            time.sleep(0.05)
        launches.heard(launch.id, holder.token, 0.0, 0)
        assert site.look(launches.get(launch.id)).state is State.UNREACHABLE, "it was heard of just now"
        time.sleep(0.6)
        assert site.look(launches.get(launch.id)).state is State.ABSENT

    def test_another_job_of_the_name_is_not_it(
        self, cluster: Cluster, site: JobSite, launches: Launches, launch: Launch
    ) -> None:
        self.create(site, launch, self.body(("sh", "-c", "sleep 30")))
        launches.created(launch, "another uid")
        launch = replace(launches.get(launch.id), created=0.0)
        cluster.pods.clear()
        assert site.look(launch).state is State.ABSENT

    @pytest.mark.parametrize(("reason", "outcome"), [("OOMKilled", OUT_OF_MEMORY), ("NodeLost", EVICTED)])
    def test_why_a_pod_ended_is_found(
        self, cluster: Cluster, site: JobSite, launches: Launches, launch: Launch, reason: str, outcome: str
    ) -> None:
        self.create(site, launch, self.body(("sh", "-c", "sleep 30")))
        deadline = time.monotonic() + 10
        while not cluster.record:
            time.sleep(0.02)
        cluster.kill_pod(cluster.record[0].pod, reason)
        while (seen := site.look(launches.get(launch.id))).state is not State.ENDED:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert seen.outcome == outcome
