"""The stand-in answers Kubernetes' own client as an API server would, and its pods are real."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes
import pytest
from kubernetes.client import ApiException, BatchV1Api, CoreV1Api

from ml_platform_tests.kubernetes import Cluster, Fault
from ml_platform_tests.kubernetes.access import access_in
from ml_platform_tests.servers import PATIENT_SECONDS


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster("one", ("ml", "other"), grace_seconds=1.0) as cluster:
        yield cluster


@pytest.fixture
def batch(cluster: Cluster, tmp_path: Path) -> BatchV1Api:
    path = cluster.write_kubeconfig(tmp_path / "config")
    return BatchV1Api(kubernetes.config.new_client_from_config(str(path)))


@pytest.fixture
def core(batch: BatchV1Api) -> CoreV1Api:
    return CoreV1Api(batch.api_client)


def job(name: str, script: str, labels: dict[str, str] | None = None, container: Any = None, **spec: Any) -> Any:
    pod = {
        "restartPolicy": "Never",
        "containers": [{"name": "main", "image": "test:1", "command": ["sh", "-c", script], **(container or {})}],
    }
    template = {"metadata": {"labels": labels or {}}, "spec": pod}
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"backoffLimit": 0, "template": template, **spec},
    }


def wait_for(what: Callable[[], Any], seconds: float = PATIENT_SECONDS) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def ended(batch: BatchV1Api, name: str) -> Any:
    return wait_for(lambda: (status := batch.read_namespaced_job_status(name, "ml").status).conditions and status)


def test_a_job_is_a_process_with_the_manifests_environment(
    cluster: Cluster, batch: BatchV1Api, core: CoreV1Api
) -> None:
    cluster.values["settings"] = {"FROM_MAP": "yes"}
    container = {
        "envFrom": [{"configMapRef": {"name": "settings"}}],
        "resources": {"limits": {"cpu": "1500m"}},
        "env": [
            {"name": "GIVEN", "value": "$(FROM_MAP), $(NOWHERE)"},
            {"name": "CORES", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        ],
    }
    batch.create_namespaced_job("ml", job("one", 'echo "$GIVEN $CORES $PYTEST_CURRENT_TEST."', container=container))
    assert ended(batch, "one").succeeded == 1
    (pod,) = core.list_namespaced_pod("ml", label_selector="job-name=one").items
    assert (pod.status.phase, pod.status.container_statuses[0].state.terminated.reason) == ("Succeeded", "Completed")
    assert core.read_namespaced_pod_log(pod.metadata.name, "ml") == "yes, $(NOWHERE) 2 .\n"
    (ran,) = cluster.record
    assert (ran.job, ran.image, ran.exit_code, ran.env["CORES"]) == ("one", "test:1", 0, "2")
    assert ran.finished is not None


def test_a_second_job_of_a_name_is_a_conflict_and_what_is_not_there_is_not_found(batch: BatchV1Api) -> None:
    batch.create_namespaced_job("ml", job("one", "true"))
    for attempt, code, message in (
        (lambda: batch.create_namespaced_job("ml", job("one", "true")), 409, "already exists"),
        (lambda: batch.create_namespaced_job("nowhere", job("one", "true")), 404, "not found"),
        (lambda: batch.read_namespaced_job("two", "ml"), 404, "not found"),
        (
            lambda: batch.create_namespaced_job("ml", {"metadata": {"name": "bad"}, "spec": {}}),
            422,
            "containers: Required",
        ),
    ):
        with pytest.raises(ApiException, match=message) as caught:
            attempt()
        assert caught.value.status == code


def test_a_failed_pod_fails_its_job_after_as_many_tries_as_it_has(cluster: Cluster, batch: BatchV1Api) -> None:
    batch.create_namespaced_job("ml", job("one", "exit 3", backoffLimit=1))
    status = ended(batch, "one")
    assert (status.failed, status.conditions[0].reason) == (2, "BackoffLimitExceeded")
    assert [ran.exit_code for ran in cluster.record] == [3, 3]


def test_a_job_over_its_deadline_is_ended(cluster: Cluster, batch: BatchV1Api) -> None:
    cluster.grace_seconds = 20.0  # it ends at once when it is asked, however busy this machine is
    batch.create_namespaced_job("ml", job("one", "sleep 60", activeDeadlineSeconds=1))
    assert ended(batch, "one").conditions[0].reason == "DeadlineExceeded"
    assert cluster.record[0].exit_code == 143


def test_a_deleted_pod_is_asked_to_end_then_killed(cluster: Cluster, batch: BatchV1Api, core: CoreV1Api) -> None:
    batch.create_namespaced_job("ml", job("one", "trap '' TERM; while true; do sleep 0.1; done"))
    wait_for(lambda: cluster.record)
    batch.delete_namespaced_job("one", "ml", propagation_policy="Background")
    wait_for(lambda: cluster.record[0].finished)
    assert cluster.record[0].exit_code == 137
    wait_for(lambda: core.list_namespaced_pod("ml").items == [])


def test_a_pod_out_of_memory_says_so(cluster: Cluster, batch: BatchV1Api, core: CoreV1Api) -> None:
    batch.create_namespaced_job("ml", job("one", "sleep 60"))
    cluster.kill_pod(wait_for(lambda: cluster.record)[0].pod, "OOMKilled")
    ended(batch, "one")
    (pod,) = core.list_namespaced_pod("ml").items
    terminated = pod.status.container_statuses[0].state.terminated
    assert (terminated.exit_code, terminated.reason) == (137, "OOMKilled")


@pytest.mark.parametrize(
    ("selector", "names"),
    [("app=a", {"a"}), ("app!=a", {"b"}), ("app in (a, b)", {"a", "b"}), ("!app", set()), ("app,extra", {"b"})],
)
def test_lists_keep_to_their_selectors(batch: BatchV1Api, selector: str, names: set[str]) -> None:
    batch.create_namespaced_job("ml", job("a", "true", {"app": "a"}))
    batch.create_namespaced_job("other", job("b", "true", {"app": "b", "extra": "1"}))
    assert {one.metadata.name for one in batch.list_job_for_all_namespaces(label_selector=selector).items} == names


def test_a_full_quota_refuses_in_kubernetes_words(cluster: Cluster, batch: BatchV1Api) -> None:
    cluster.quotas["ml"] = 0
    with pytest.raises(ApiException, match="exceeded quota: jobs, requested: count") as caught:
        batch.create_namespaced_job("ml", job("one", "true"))
    assert caught.value.status == 403


def test_faults_hit_as_often_as_they_should(cluster: Cluster, batch: BatchV1Api) -> None:
    fault = Fault("POST", "/jobs$", code=429, message="slow down", headers={"Retry-After": "1"}, times=2)
    cut = Fault("POST", "/jobs$", kind="cut after")
    cluster.faults = [fault, cut]
    for _ in range(2):
        with pytest.raises(ApiException, match="slow down"):
            batch.create_namespaced_job("ml", job("one", "true"))
    assert cluster.jobs == {}
    batch.api_client.rest_client.pool_manager.connection_pool_kw["retries"] = False
    with pytest.raises(Exception, match="Connection aborted"):
        batch.create_namespaced_job("ml", job("one", "true"))
    assert (fault.injected, cut.injected, list(cluster.jobs)) == (2, 1, [("ml", "one")])


def test_an_api_that_is_away_comes_back_with_all_it_had(cluster: Cluster, batch: BatchV1Api) -> None:
    batch.create_namespaced_job("ml", job("one", "sleep 60"))
    with cluster.away(), pytest.raises(Exception, match="Connection refused"):
        batch.list_namespaced_job("ml", _request_timeout=1)
    assert [one.metadata.name for one in batch.list_namespaced_job("ml").items] == ["one"]


def test_who_asks_for_more_than_the_roles_say_is_forbidden(cluster: Cluster, tmp_path: Path) -> None:
    def made(kind: str, **more: Any) -> Any:
        return {"kind": kind, "metadata": {"name": "reader", "namespace": "ml"}, **more}

    rules = [{"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["list"]}]
    subjects = [{"kind": "ServiceAccount", "name": "reader", "namespace": "other"}]
    binding = made("RoleBinding", roleRef={"kind": "Role", "name": "reader"}, subjects=subjects)
    cluster.access = access_in([made("Role", rules=rules), binding])
    path = cluster.write_kubeconfig(tmp_path / "reader", "system:serviceaccount:other:reader")
    batch = BatchV1Api(kubernetes.config.new_client_from_config(str(path)))
    core = CoreV1Api(batch.api_client)
    assert batch.list_namespaced_job("ml").items == []
    for refused, told in (
        (lambda: batch.list_namespaced_job("other"), 'cannot list resource "jobs" in API group "batch" in the namespace "other"'),
        (batch.list_job_for_all_namespaces, 'cannot list resource "jobs" in API group "batch" at the cluster scope'),
        (lambda: batch.read_namespaced_job_status("one", "ml"), 'cannot get resource "jobs/status"'),
        (lambda: core.read_namespaced_pod_log("one", "ml"), 'cannot get resource "pods/log" in API group ""'),
    ):  # fmt: skip
        with pytest.raises(ApiException) as caught:
            refused()
        assert (caught.value.status, told in json.loads(caught.value.body)["message"]) == (403, True)
