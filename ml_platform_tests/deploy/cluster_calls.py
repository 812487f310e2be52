"""Records what the platform asks a cluster for: its launcher, its reconciler and its steps, each under its own account."""

import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from ml_platform.compat.dagster import LaunchRunContext
from ml_platform.compat.dagster_steps import ExecuteRunArgs
from ml_platform.launchers.backends.protocol import RetryLater
from ml_platform.launchers.leases.schema import ENDED, OUT_OF_MEMORY, Holder, Launch, work_of
from ml_platform.launchers.leases.table import Launches
from ml_platform.launchers.routes import Route
from ml_platform.launchers.runs.reconciler import Reconciler
from ml_platform.launchers.runs.relay import Relay
from ml_platform_tests.dagster_internals import ModuleTarget, WorkspaceProcessContext
from ml_platform_tests.deploy.manifests import instance_yaml, located
from ml_platform_tests.kubernetes import Cluster, Fault
from ml_platform_tests.launchers.rig import MODULE, Rig
from ml_platform_tests.postgres import Postgres

ACCOUNTS = {
    "daemon": "system:serviceaccount:ml-platform:daemon",
    "reconciler": "system:serviceaccount:ml-platform:reconciler",
}
IDLE = ("sh", "-c", "echo last words; exec sleep 60", "--")  # what pods do that need not be real
TIMEOUTS = {"first_seconds": 0.1, "longest_seconds": 0.2, "grace_seconds": 0.3}
REFUSALS = 3  # so many, and what waits for something will wait for ever
STARTING = dg.DagsterRunStatus.STARTING


@dataclass
class Played:
    """One cluster that judges by roles, and the platform's processes, each with an instance under its account.

    The webserver and runs have no account: their instances reach no cluster. `steps` is the reconciler, whose pods work.
    """

    cluster: Cluster
    instances: Mapping[str, dg.DagsterInstance]
    like: Mapping[str, dg.DagsterRun] = field(default_factory=dict)

    @property
    def launches(self) -> Launches:
        return Launches.of(self.instances["daemon"])

    def launcher(self, account: str) -> Any:
        return self.instances[account].run_launcher

    def run(self, asset: str = "quick_one") -> dg.DagsterRun:
        """Returns a run that is to be started."""
        new = self.like[asset]._replace(run_id=str(uuid.uuid4()), status=STARTING, tags={})
        return self.instances["daemon"].add_run(new)

    def started(self, launcher: str = "cpu", *, is_leased: bool = True) -> tuple[dg.DagsterRun, Launch]:
        """Has the daemon start a run, and waits for its pod."""
        run = self.run()
        launch = self.launches.intend(work_of(run), launcher, Route(launcher, {}))
        self.launcher("daemon").starter.start(launch, LaunchRunContext(run, None))
        self.wait(lambda: self.pod_of(run))
        if is_leased:
            self.launches.acquire(launch.lease_id, Holder())
        return run, self.launches.get(launch.id)

    def pod_of(self, run: dg.DagsterRun) -> Any:
        with self.cluster.lock:
            return next((one for one in self.cluster.record if one.labels["dagster/run-id"] == run.run_id), None)

    def job_of(self, run: dg.DagsterRun) -> Any:
        with self.cluster.lock:
            jobs = list(self.cluster.jobs.values())
        return next((one for one in jobs if one["metadata"]["labels"]["dagster/run-id"] == run.run_id), None)

    def kill(self, run: dg.DagsterRun, reason: str = "Error") -> None:
        ran = self.pod_of(run)
        self.cluster.kill_pod(ran.pod, reason)
        self.wait(lambda: any(one["type"] == "Failed" for one in self.job_of(run)["status"].get("conditions", ())))

    def refused(self) -> int:
        return sum(code == 403 for _, _, code in self.cluster.calls)

    def wait(self, is_so: Callable[[], Any], act: Callable[[], object] = lambda: None) -> None:
        """Acts until something is so, or until the cluster has refused too often."""
        deadline = time.monotonic() + 60
        while not is_so():
            assert self.refused() < REFUSALS, "the cluster refuses it"
            assert time.monotonic() < deadline, "it did not come about"
            act()
            time.sleep(0.05)

    def reconcile_until(self, is_so: Callable[[], Any]) -> None:
        reconciler = Reconciler(self.instances["reconciler"])
        self.wait(is_so, reconciler.look_once)

    def debug_info(self, run: dg.DagsterRun) -> str:
        """What the daemon writes into the log of a run that it gives up."""
        return str(self.launcher("daemon").get_run_worker_debug_info(run))

    def clear(self) -> None:
        for run in self.instances["daemon"].get_runs():
            for launch in self.launches.of_run(run.run_id):
                self.launches.release(launch, ENDED)
            if run.run_id not in {one.run_id for one in self.like.values()}:
                self.instances["daemon"].delete_run(run.run_id)
        for key in list(self.cluster.jobs):
            self.cluster.controller.delete_job(key, is_orphaning=False)
        self.cluster.calls.clear(), self.cluster.faults.clear(), self.cluster.record.clear()
        self.cluster.pod_quotas.clear()


# What the platform asks for, one check each.


def a_run_is_started(played: Played) -> None:
    run = played.run()
    played.launcher("daemon").launch_run(LaunchRunContext(run, None))
    assert played.job_of(run) is not None


def a_job_that_is_there_already_is_adopted(played: Played) -> None:
    run = played.run()
    launch = played.launches.intend(work_of(run), "cpu", Route("cpu", {}))
    backend = played.launcher("daemon").starter.backend("cpu")
    played.cluster.faults = [Fault("POST", "/jobs$", kind="cut after")]
    try:
        backend.start(launch, LaunchRunContext(run, None))  # the daemon is killed before the answer
    except RetryLater:
        backend.start(launch, LaunchRunContext(run, None))
    assert played.launches.get(launch.id).uid == played.job_of(run)["metadata"]["uid"]


def a_run_that_died_says_how_its_pod_ended(played: Played) -> None:
    run, _ = played.started()
    played.kill(run)
    assert "Terminated with exit code 137" in played.debug_info(run)


def a_run_that_did_not_come_to_its_start_says_what_its_pod_printed(played: Played) -> None:
    run, _ = played.started()
    played.wait(lambda: "last words" in played.cluster.controller.log(played.pod_of(run).pod))
    assert "Last 25 log lines" in (message := played.debug_info(run))
    assert "last words" in message


def a_run_says_what_the_cluster_warned_of(played: Played) -> None:
    run, _ = played.started()
    played.cluster.event("Pod", played.pod_of(run).pod, "ml-cpu", "FailedMount", "secret object-store is not there")
    played.cluster.events[-1]["type"] = "Warning"
    assert "FailedMount: secret object-store is not there" in played.debug_info(run)


def a_run_that_got_no_pod_says_so(played: Played) -> None:
    run, _ = played.started()
    with played.cluster.lock:
        played.cluster.pods.clear()
    assert "Job status:" in played.debug_info(run)


def what_nobody_started_is_started(played: Played) -> None:
    run = played.run()
    played.launches.intend(work_of(run), "cpu", Route("cpu", {}))  # the daemon is killed before it does it
    played.reconcile_until(lambda: played.job_of(run) is not None or _status(played, run) == "FAILURE")
    assert played.job_of(run) is not None


def why_a_process_died_is_seen(played: Played) -> None:
    run, launch = played.started()
    played.kill(run, "OOMKilled")
    played.reconcile_until(lambda: not played.launches.get(launch.id).is_open)
    assert played.launches.get(launch.id).outcome == OUT_OF_MEMORY


def a_run_that_a_quota_holds_up_says_why(played: Played) -> None:
    played.cluster.pod_quotas["ml-cpu"] = 0
    run = played.run()
    launch = played.launches.intend(work_of(run), "cpu", Route("cpu", {}))
    played.launcher("daemon").starter.start(launch, LaunchRunContext(run, None))
    played.reconcile_until(lambda: played.launches.get(launch.id).waiting_until is not None)
    assert "exceeded quota" in str(played.launches.get(launch.id).reason)


def a_run_terminated_in_the_ui_leaves_no_job(played: Played) -> None:
    run, _ = played.started()
    assert played.launcher("webserver").terminate(run.run_id)
    played.reconcile_until(lambda: played.job_of(run) is None and _status(played, run) == "CANCELED")


def a_pod_that_lost_its_job_is_ended(played: Played) -> None:
    run, _ = played.started()
    job = played.job_of(run)["metadata"]
    played.cluster.controller.delete_job((job["namespace"], job["name"]), is_orphaning=True)
    assert played.launcher("webserver").terminate(run.run_id)
    played.reconcile_until(lambda: played.pod_of(run).finished)


def a_job_that_no_launch_needs_is_deleted(played: Played) -> None:
    run, launch = played.started()
    played.launches.release(launch, ENDED)
    played.reconcile_until(lambda: played.job_of(run) is None)


def a_step_goes_to_another_launcher(played: Played) -> None:
    """The process of a mixed run's pod, which has no account, as it is; its step's pod is real too."""
    run, instance = played.run("trained"), played.instances["run"]
    origin = run.job_code_origin
    assert origin is not None
    command = ExecuteRunArgs(origin, run.run_id, instance.get_ref()).get_command_args()
    reports: list[str] = []
    with Relay(played.instances["steps"], reports.append).serving(0.2):
        subprocess.run(command, capture_output=True, check=True, timeout=120)
    assert (_status(played, run), reports) == ("SUCCESS", [])
    assert {one.namespace for one in played.cluster.record} == {"ml-gpu"}


def _status(played: Played, run: dg.DagsterRun) -> str:
    found = played.instances["daemon"].get_run_by_id(run.run_id)
    assert found is not None
    return found.status.value


@contextmanager
def played_in(folder: Path, server: Postgres) -> Iterator[Played]:
    """Opens a cluster, and an instance for each account from the one-cluster overlay's `dagster.yaml`."""
    server.create_database("roles")
    storage = {"hostname": "127.0.0.1", "port": server.port, "username": "postgres", "db_name": "roles", "params": {}}
    with ExitStack() as stack:
        cluster = stack.enter_context(Cluster("one", ("ml-cpu", "ml-gpu"), grace_seconds=1.0))
        cluster.values = {"postgres": {"password": "unused"}, "object-store": {}}
        instances = {}
        for account, user in {**ACCOUNTS, "steps": ACCOUNTS["reconciler"], "webserver": None, "run": None}.items():
            home = folder / account
            home.mkdir()
            kubeconfig = home / "kubeconfig"
            if user is not None:
                cluster.write_kubeconfig(kubeconfig, user)
            files = dict.fromkeys(("cpu", "gpu"), str(kubeconfig))
            prefix = () if account == "steps" else IDLE
            config = located(instance_yaml("overlays/one-cluster"), storage, files, prefix)
            config["run_launcher"]["config"]["timeouts"] = TIMEOUTS
            (home / "dagster.yaml").write_text(yaml.safe_dump(config))
            instances[account] = stack.enter_context(dg.DagsterInstance.from_config(str(home)))
        yield Played(cluster, instances, _runs(instances["daemon"], "quick_one", "trained"))


def _runs(instance: dg.DagsterInstance, *assets: str) -> dict[str, dg.DagsterRun]:
    """Returns a queued run of each asset, to be copied."""
    target = ModuleTarget(MODULE, attribute=None, working_directory=None, location_name="tests")
    with WorkspaceProcessContext(instance, target) as process:
        rig = Rig(instance, process)
        return {asset: rig.run(rig.launch(asset)) for asset in assets}
