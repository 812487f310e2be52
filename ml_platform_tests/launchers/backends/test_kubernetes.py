"""Steps reach the cluster of their launcher, and nobody else's; what a cluster does to them is seen."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from ml_platform.compat.dagster import WorkerStatus
from ml_platform_tests.kubernetes import Cluster, Fault
from ml_platform_tests.launchers.clusters import component, components, two_clusters
from ml_platform_tests.launchers.location import CHAIN, FOLDER
from ml_platform_tests.launchers.rig import IMMEDIATELY, Rig, instance_yaml, rig_in
from ml_platform_tests.servers import PATIENT_SECONDS, wait_until

SUCCESS, FAILURE, CANCELED = dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED


@dataclass
class Two:
    rig: Rig
    cpu: Cluster
    gpu: Cluster


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    folder = tmp_path_factory.mktemp("clusters")
    with two_clusters(folder / "pods", folder / "home", **{FOLDER: str(folder)}) as (cpu, gpu, launchers):
        text = instance_yaml(launchers, run_coordinator=IMMEDIATELY)
        with rig_in(folder / "home", text) as rig:
            yield Two(rig, cpu, gpu)


@pytest.fixture
def two(both: Two) -> Two:
    both.cpu.record.clear()
    both.gpu.record.clear()
    return both


@pytest.mark.full
def test_a_mixed_run_sends_its_gpu_steps_alone_to_the_gpu_cluster(two: Two) -> None:
    run_id = two.rig.launch(*CHAIN)
    assert two.rig.finish(run_id) is SUCCESS, two.rig.log_text(run_id)
    assert components(two.cpu) == ["run"]
    assert components(two.gpu) == ["trained", "trained_looks_right"]
    places = {step: place["PLACE"] for step, place in two.rig.places(run_id).items()}
    assert places == {"raw": "cpu", "clean": "cpu", "trained": "gpu", "trained_looks_right": "gpu", "scored": "cpu"}
    (ran, _) = two.gpu.record
    assert (ran.namespace, ran.image, ran.service_account) == ("ml-gpu", "ml_platform:gpu", "ml-run")
    assert ran.resources == {"limits": {"cpu": "1", "nvidia.com/gpu": "1"}}


@pytest.mark.full
def test_a_run_for_one_cluster_is_one_pod_there(two: Two) -> None:
    run_id = two.rig.launch("trained", "escalating")
    assert two.rig.finish(run_id) is SUCCESS, two.rig.log_text(run_id)
    assert (components(two.cpu), components(two.gpu)) == ([], ["run"])


@pytest.mark.full
def test_a_pod_has_the_threads_of_the_cores_that_it_owns(two: Two) -> None:
    run_id = two.rig.launch("raw", "trained")
    assert two.rig.finish(run_id) is SUCCESS, two.rig.log_text(run_id)
    assert {(ran.env["OMP_NUM_THREADS"], ran.env["OMP_WAIT_POLICY"]) for ran in two.cpu.record} == {("2", "passive")}
    assert {(ran.env["OMP_NUM_THREADS"], ran.env["OMP_WAIT_POLICY"]) for ran in two.gpu.record} == {("1", "passive")}


@pytest.mark.full
def test_an_isolated_step_of_the_runs_own_cluster_has_a_pod_of_its_own(two: Two) -> None:
    run_id = two.rig.launch("raw", "apart")
    assert two.rig.finish(run_id) is SUCCESS, two.rig.log_text(run_id)
    assert sorted(components(two.cpu)) == ["apart", "run"]


@pytest.mark.full
def test_a_step_beside_one_elsewhere_needs_no_pod(two: Two) -> None:
    run_id = two.rig.launch("slow_on_gpu", "quick_one", "quick_two")
    assert two.rig.finish(run_id) is SUCCESS, two.rig.log_text(run_id)
    assert (components(two.cpu), components(two.gpu)) == (["run"], ["slow_on_gpu"])
    ended = [str(event.step_key) for event in two.rig.events(run_id) if event.is_step_success]
    assert ended == ["quick_one", "quick_two", "slow_on_gpu"]


@pytest.mark.full
def test_what_failed_is_executed_again_on_its_cluster_alone(two: Two) -> None:
    first = two.rig.launch("raw", "clean", "fails_until_mended")
    assert two.rig.finish(first) is FAILURE
    (Path(two.cpu.record[0].env[FOLDER]) / "mended").touch()
    two.cpu.record.clear(), two.gpu.record.clear()
    second = two.rig.reexecute(first)
    assert two.rig.finish(second) is SUCCESS, two.rig.log_text(second)
    assert (components(two.cpu), components(two.gpu)) == ([], ["run"])


@pytest.mark.full
def test_a_terminated_run_leaves_no_pod_on_either_cluster(two: Two) -> None:
    run_id = two.rig.launch("sleepy_on_gpu", "sleepy")
    for step in ("sleepy_on_gpu", "sleepy"):
        two.rig.wait_for_step(run_id, step)
    two.rig.terminate(run_id)
    assert two.rig.finish(run_id) is CANCELED, two.rig.log_text(run_id)
    wait_until(
        lambda: all(ran.finished for ran in (*two.cpu.record, *two.gpu.record)), PATIENT_SECONDS, "end of the pods"
    )
    assert [component(ran) for ran in two.gpu.record] == ["sleepy_on_gpu"]


def test_health_is_asked_of_the_cluster_that_has_the_run(two: Two) -> None:
    run_id = two.rig.launch("sleepy_on_gpu")
    two.rig.wait_for_step(run_id, "sleepy_on_gpu")
    two.cpu.calls.clear()
    assert two.rig.launcher.check_run_worker_health(two.rig.run(run_id)).status is WorkerStatus.RUNNING
    two.gpu.kill_pod(two.gpu.record[0].pod)
    wait_until(lambda: bool(two.gpu.record[0].finished), PATIENT_SECONDS, "the pod's death")
    wait_until(
        lambda: two.rig.launcher.check_run_worker_health(two.rig.run(run_id)).status is WorkerStatus.FAILED,
        10,
        "notice",
    )
    assert two.cpu.calls == []
    two.rig.instance.report_run_failed(two.rig.run(run_id))


@pytest.mark.full
def test_a_cluster_that_refuses_a_step_fails_that_step_and_no_other(two: Two) -> None:
    two.gpu.faults = [Fault("POST", "/jobs$", code=403, message="the launcher may not create jobs")]
    run_id = two.rig.launch("raw", "clean", "trained", "quick_one")
    assert two.rig.finish(run_id) is FAILURE
    assert set(two.rig.places(run_id)) == {"raw", "clean", "quick_one"}
    assert "the launcher may not create jobs" in two.rig.log_text(run_id)
