"""A job is created once, adopted only where it is the same, and not taken for gone while nobody can be asked.

`test_mutants` breaks these fences one by one, and these tests must notice.
"""

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import kubernetes
import pytest
import time_machine
from kubernetes.client import BatchV1Api, CoreV1Api

from ml_platform.errors import LaunchError
from ml_platform.launchers.backends.kubernetes_jobs import JobBackend
from ml_platform.launchers.backends.protocol import RetryLater, State, Timeouts
from ml_platform.launchers.leases.schema import EVICTED, OUT_OF_MEMORY, Holder, Launch, Work
from ml_platform.launchers.leases.table import Launches
from ml_platform_tests.dagster_internals import DagsterKubernetesClient
from ml_platform_tests.kubernetes import Cluster, Fault
from ml_platform_tests.launchers.cases import QUOTA
from ml_platform_tests.servers import PATIENT_SECONDS, wait_until

STATUS = dg.DagsterRunStatus
WORK = Work("run", "run", "job")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster("one", ("ml",), grace_seconds=1.0) as cluster:
        yield cluster


@pytest.fixture
def backend(cluster: Cluster, instance: dg.DagsterInstance, launches: Launches, tmp_path: Path) -> JobBackend:
    api = kubernetes.config.new_client_from_config(str(cluster.write_kubeconfig(tmp_path / "config")))
    client = DagsterKubernetesClient.production_client(BatchV1Api(api), CoreV1Api(api))
    launcher = SimpleNamespace(_api_client=client, job_namespace="ml", _instance=instance)
    return JobBackend(launcher, launches, Timeouts(grace_seconds=0.5))


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """Time stands still until a test moves it: how long its requests take says nothing."""
    with time_machine.travel(time.time(), tick=False) as clock:
        yield clock


def a_job(command: tuple[str, ...] = ("true",), **container: Any) -> Any:
    container = {"name": "dagster", "image": "x", "command": list(command), "args": ["dagster", "api"], **container}
    pod = {"metadata": {"name": "job"}, "spec": {"restartPolicy": "Never", "containers": [container]}}
    text = {"metadata": {"name": "job"}, "spec": {"template": pod, "backoffLimit": 4}}
    api = kubernetes.client.ApiClient()
    return api.deserialize(SimpleNamespace(data=json.dumps(text)), "V1Job")


def create(backend: JobBackend, launch: Launch, body: Any = None) -> None:
    with backend.client.creating(launch):
        backend.client.create_namespaced_job_with_retries(body or a_job(), "ml")


def test_a_job_takes_its_lease_runs_once_and_ends(
    cluster: Cluster, backend: JobBackend, launches: Launches, launch: Launch
) -> None:
    create(backend, launch)
    (job,) = cluster.jobs.values()
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["command"] == ["true", "python", "-m", "ml_platform.launchers", launch.lease_id]
    assert container["args"] == ["dagster", "api"]
    assert (job["spec"]["backoffLimit"], job["spec"]["activeDeadlineSeconds"]) == (0, 7 * 24 * 3600)
    assert launches.get(launch.id).uid == job["metadata"]["uid"]


def test_the_same_job_is_adopted_and_another_is_not(
    cluster: Cluster, backend: JobBackend, launches: Launches, launch: Launch
) -> None:
    cluster.faults = [Fault("POST", "/jobs$", kind="cut after")]
    with pytest.raises(RetryLater):
        create(backend, launch)
    create(backend, launch)  # the launch was not put off: it is the same job
    assert launches.get(launch.id).uid == cluster.jobs["ml", "job"]["metadata"]["uid"]
    assert len(cluster.jobs) == 1
    other = launches.intend(replace(WORK, run_id=uuid.uuid4().hex), "cpu")
    with pytest.raises(LaunchError, match=r"job job exists in namespace ml, and is not what .* would create"):
        create(backend, other)
    assert launches.get(other.id).created is None


@pytest.mark.parametrize("fault", [
    QUOTA, {"code": 429, "headers": {"Retry-After": "7"}}, {"code": 500}, {"code": 503},
    {"kind": "cut before"},
], ids=str)  # fmt: skip
def test_what_is_not_for_ever_waits(cluster: Cluster, backend: JobBackend, launch: Launch, fault: Any) -> None:
    cluster.faults = [Fault("POST", "/jobs$", **fault)]
    with pytest.raises(RetryLater) as caught:
        create(backend, launch)
    assert caught.value.seconds == (7.0 if fault.get("code") == 429 else 0.0)


def test_what_is_for_ever_is_refused(cluster: Cluster, backend: JobBackend, launch: Launch) -> None:
    cluster.faults = [Fault("POST", "/jobs$", code=403, message="may not create jobs")]
    with pytest.raises(LaunchError, match="may not create jobs"):
        create(backend, launch)
    with backend.client.creating(launch), pytest.raises(LaunchError, match="namespace nowhere is not there"):
        backend.client.create_namespaced_job_with_retries(a_job(), "nowhere")


def test_other_settings_wait_for_another_fencing_token(backend: JobBackend, launches: Launches, launch: Launch) -> None:
    launches.specify(launch, "what another version would create", "job", "ml")
    with pytest.raises(RetryLater, match="other settings"):
        create(backend, launch)


def test_who_cannot_be_asked_is_not_dead(
    cluster: Cluster, backend: JobBackend, launches: Launches, launch: Launch
) -> None:
    create(backend, launch, a_job(("sh", "-c", "sleep 30")))
    launch = launches.get(launch.id)
    assert backend.look(launch).state is State.RUNNING
    for path in (r"/jobs/", r"/pods$"):
        cluster.faults = [Fault("GET", path, code=500, times=9)]
        assert backend.look(launch).state is State.UNREACHABLE
    cluster.faults = []
    with cluster.away():
        assert backend.look(launch).state is State.UNREACHABLE
        with pytest.raises(RetryLater):
            backend.end(launch)


def test_a_job_that_is_not_there_is_gone_once_nothing_is_heard(
    cluster: Cluster, backend: JobBackend, launches: Launches, launch: Launch, clock: time_machine.Traveller
) -> None:
    create(backend, launch, a_job(("sh", "-c", "sleep 30")))
    holder = Holder()
    launches.acquire(launch.lease_id, holder)
    launches.renew(launch.id, holder.secret, 0.0, 0)
    cluster.controller.delete_job(("ml", "job"), is_orphaning=True)
    assert backend.look(launches.get(launch.id)).state is State.RUNNING, "its pod is there"
    for pod in list(cluster.pods):
        cluster.controller.delete_pod(pod)
    wait_until(lambda: not cluster.pods, PATIENT_SECONDS, "the pods' end")
    launches.renew(launch.id, holder.secret, 0.0, 0)
    assert backend.look(launches.get(launch.id)).state is State.UNREACHABLE, "it was heard of just now"
    clock.shift(0.6)
    assert backend.look(launches.get(launch.id)).state is State.ABSENT


def test_another_job_of_the_name_is_not_it(
    cluster: Cluster, backend: JobBackend, launches: Launches, launch: Launch
) -> None:
    create(backend, launch, a_job(("sh", "-c", "sleep 30")))
    launches.created(launch, "another uid")
    launch = replace(launches.get(launch.id), created=0.0)
    cluster.pods.clear()
    assert backend.look(launch).state is State.ABSENT


@pytest.mark.parametrize(("reason", "outcome"), [("OOMKilled", OUT_OF_MEMORY), ("NodeLost", EVICTED)])
def test_why_a_pod_ended_is_found(
    cluster: Cluster, backend: JobBackend, launches: Launches, launch: Launch, reason: str, outcome: str
) -> None:
    create(backend, launch, a_job(("sh", "-c", "sleep 30")))
    wait_until(lambda: bool(cluster.record), PATIENT_SECONDS, "a pod")
    cluster.kill_pod(cluster.record[0].pod, reason)
    wait_until(lambda: backend.look(launches.get(launch.id)).state is State.ENDED, PATIENT_SECONDS, "its end")
    assert backend.look(launches.get(launch.id)).outcome == outcome


@pytest.mark.parametrize(
    "case",
    [
        ('pods "job-x" is forbidden: exceeded quota: quota, requested: requests.cpu=2', State.HELD_UP),
        ('pods "job-x" is forbidden: error looking up service account ml/run: serviceaccount "run" not found', State.RUNNING),
        (None, State.RUNNING),
    ],
)  # fmt: skip
def test_a_job_without_a_pod_is_held_up_only_by_a_quota(
    cluster: Cluster, backend: JobBackend, launches: Launches, launch: Launch, clock: time_machine.Traveller, case: Any
) -> None:
    """What a cluster never allows ends by Dagster's time-out for starting; a slow one is not driven on."""
    said, state = case
    cluster.pod_quotas["ml"] = 0
    create(backend, launch)
    assert backend.look(launches.get(launch.id)).state is State.RUNNING, "it may be about to get one"
    wait_until(lambda: bool(cluster.events), PATIENT_SECONDS, "an event")
    clock.shift(0.6)
    cluster.events.clear()
    if said is not None:
        cluster.event("Job", "job", "ml", "FailedCreate", said)
    seen = backend.look(launches.get(launch.id))
    assert seen.state is state
    assert state is State.RUNNING or str(said) in seen.reason
    assert backend.look(launches.end(launch)).state is State.RUNNING, "it is to end, and is there"


def test_a_suspended_job_is_left_to_who_suspended_it(
    cluster: Cluster, backend: JobBackend, launches: Launches, launch: Launch, clock: time_machine.Traveller
) -> None:
    cluster.pod_quotas["ml"] = 0
    create(backend, launch)
    wait_until(lambda: bool(cluster.events), PATIENT_SECONDS, "an event")
    next(iter(cluster.jobs.values()))["spec"]["suspend"] = True
    clock.shift(0.6)
    assert backend.look(launches.get(launch.id)).state is State.RUNNING
