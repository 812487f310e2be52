"""Pods that may not talk to their cluster have steps started by the reconciler, once each, whatever goes wrong."""

import json
import time
from collections.abc import Iterator

import pytest
from dagster import serialize_value

from ml_platform.compat.dagster_steps import ExecuteStepArgs
from ml_platform.errors import LaunchError
from ml_platform.launchers.backends.protocol import RetryLater, Timeouts
from ml_platform.launchers.leases.schema import Work
from ml_platform.launchers.steps.requests import CREATE, RelayedBackend, Requests
from ml_platform_tests import tiers
from ml_platform_tests.crashes import KILLED, NOTED
from ml_platform_tests.launchers.case_run import judged, play
from ml_platform_tests.launchers.cases import Case, cases
from ml_platform_tests.launchers.children import in_child, relay_in_child
from ml_platform_tests.launchers.clusters import components
from ml_platform_tests.launchers.world import World, world_in

CONFIG = "dagster-k8s/config"
MIXED = ("counted", "counted_on_gpu")
OF_STEPS = [case for case in cases() if "step" in case.name or case.name == "a quota is used up for 3 s"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world_in(tmp_path_factory.mktemp("relayed"), seconds=0.3, is_relayed=True) as result:
        yield result


@pytest.fixture
def problems(world: World) -> Iterator[list[str]]:
    """Serves what is asked meanwhile; gives what went wrong around it."""
    world.reports.clear()
    with world.relay.serving(0.1):
        yield world.reports


def test_a_pod_without_access_has_its_steps_executed_where_they_belong(world: World, problems: list[str]) -> None:
    run_id = world.launch(*MIXED)
    world.settle(run_id)
    outcome = world.outcome(run_id)
    assert (outcome.status, outcome.began, outcome.ended) == ("SUCCESS", 1, 1), world.rig.log_text(run_id)
    assert (components(world.cpu), components(world.gpu)) == (["run"], ["counted_on_gpu"])
    starting = [event for event in world.rig.events(run_id) if event.event_type_value == "STEP_WORKER_STARTING"]
    assert [(one.step_key, "in Kubernetes job" in str(one.message)) for one in starting] == [("counted_on_gpu", True)]
    assert not list((world.folder / "pods").glob("*.kubeconfig")), "no pod could have asked a cluster"
    assert problems == []


@pytest.mark.parametrize(
    "case", tiers.cases("faults of relayed steps", OF_STEPS, kind=lambda case: case.kind), ids=lambda case: case.name
)
def test_its_work_is_done_once_whatever_a_cluster_answers(world: World, problems: list[str], case: Case) -> None:
    found = play(world, case)
    assert found.problem is None, f"{found.problem}\n{found.log}"
    assert not found.open, f"launches are open: {found.open}"
    assert problems == []


@pytest.mark.full
def test_without_a_reconciler_a_step_waits_and_says_so(world: World) -> None:
    world.clear()
    run_id = world.launch(*MIXED)
    world.wait_for_start(run_id)
    until = time.monotonic() + 30
    while "no reconciler has answered" not in (log := world.rig.log_text(run_id)):
        assert time.monotonic() < until, log
        time.sleep(0.2)
    assert "is `ml-platform launches reconcile --every 5` running?" in log
    with world.relay.serving(0.1):
        world.settle(run_id)
    outcome = world.outcome(run_id)
    assert (outcome.status, outcome.began, outcome.ended) == ("SUCCESS", 1, 1), world.rig.log_text(run_id)


@pytest.mark.parametrize("before", tiers.cases("kills of the relay", range(4)))
def test_a_relay_that_is_killed_before_any_of_its_effects_is_followed_by_another(world: World, before: int) -> None:
    world.clear()
    kubeconfig = world.folder / "pods" / "gpu.kubeconfig"
    kubeconfig.write_bytes(kubeconfig.with_suffix(".here").read_bytes())  # for the process that is killed
    run_id = world.launch(*MIXED)
    world.wait_for_start(run_id)
    child = in_child(relay_in_child, str(world.folder / "home"), before)
    until = time.monotonic() + 60
    while child.is_alive() and not world.rig.run(run_id).is_finished:
        assert time.monotonic() < until, world.rig.log_text(run_id)
        world.once()
        time.sleep(0.1)
    kubeconfig.unlink()
    child.kill(), child.join()
    noted = (world.folder / NOTED).read_text()
    assert KILLED in noted, f"it had fewer effects:\n{noted}"
    with world.relay.serving(0.1):
        world.settle(run_id)
    found = judged(world, Case("killed", lambda _: ""), run_id)
    assert found.problem is None, f"{found.problem}\n{found.log}"
    assert not found.open


def asked_of_a_step(world: World, run_id: str) -> str:
    """What a run's process says of a step that it wants executed."""
    origin = world.rig.run(run_id).job_code_origin
    assert origin is not None
    return serialize_value(ExecuteStepArgs(origin, run_id, ["counted_on_gpu"], world.rig.instance.get_ref()))


@pytest.mark.full
def test_a_request_about_another_step_than_its_launchs_is_refused(world: World, problems: list[str]) -> None:
    """Whoever writes into the database can ask; what comes of it is bounded by the launch and the launcher."""
    with world.held("counted"):
        run_id = world.launch("counted")
        world.wait_for_start(run_id)
        args = asked_of_a_step(world, run_id)
        launch = world.launches.intend(Work(run_id, run_id, "__ASSET_JOB", "other"), "gpu")
        with pytest.raises(LaunchError, match="the request is not about step other"):
            RelayedBackend(world.launches, Timeouts(grace_seconds=5)).ask(launch, CREATE, args=args, tags={})
    world.launches.release(launch, "refused")
    world.settle(run_id)


def test_a_step_gets_what_its_launcher_allows(
    world: World, problems: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster holds the settings of runs to this, and not those of steps."""
    world.clear()
    gpu = world.rig.launcher.children["gpu"]
    monkeypatch.setattr(gpu, "_only_allow_user_defined_k8s_config_fields", {"container_config": {"resources": True}})
    with world.held("counted"):
        run_id = world.launch("counted")
        world.wait_for_start(run_id)
        launch = world.launches.intend(Work(run_id, run_id, "__ASSET_JOB", "counted_on_gpu"), "gpu")
        backend, args = RelayedBackend(world.launches, Timeouts(grace_seconds=5)), asked_of_a_step(world, run_id)
        privileged = {"container_config": {"security_context": {"privileged": True}}}
        with pytest.raises(LaunchError, match=r"container_config\.security_context; .* only_allow_user_defined"):
            backend.ask(launch, CREATE, args=args, tags={CONFIG: json.dumps(privileged)})
        assert not world.gpu.jobs
        backend.ask(
            launch, CREATE, args=args, tags={CONFIG: '{"container_config": {"resources": {"limits": {"cpu": "7"}}}}'}
        )
        (job,) = world.gpu.jobs.values()
        assert job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "7"
    world.launches.release(launch, "refused")
    world.settle(run_id)


@pytest.mark.full
def test_a_run_that_is_canceled_starts_nothing_more(world: World, problems: list[str]) -> None:
    world.clear()
    run_id = world.launch("counted_long")
    world.wait_for_start(run_id)
    args = asked_of_a_step(world, run_id)
    world.rig.instance.report_run_canceling(world.rig.run(run_id))
    launch = world.launches.intend(Work(run_id, run_id, "__ASSET_JOB", "counted_on_gpu"), "gpu")
    assert RelayedBackend(world.launches, Timeouts(grace_seconds=5)).ask(launch, CREATE, args=args, tags={}) == {}
    assert not world.gpu.jobs
    world.rig.terminate(run_id)
    world.settle(run_id)


def test_what_is_asked_for_too_long_is_forgotten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.clear()
    requests, launch = Requests(world.launches), world.launches.intend(Work("none", "none", "job"), "gpu")
    with pytest.raises(RetryLater, match="no reconciler has answered for 0 s"):
        RelayedBackend(world.launches, Timeouts(grace_seconds=0.1)).ask(launch, CREATE)
    assert requests.open() == []
    left = [requests.ask(launch, CREATE, {}) for _ in range(2)]
    requests.answer(requests.open()[0], {})
    requests.forget_old()
    assert len(requests.open()) == 1
    assert requests.answer_to(left[0]) == {}, "whoever asked may still come for it"
    later = time.time() + 601
    monkeypatch.setattr(time, "time", lambda: later)
    requests.forget_old()
    assert (requests.open(), requests.answer_to(left[0])) == ([], None)
    world.launches.release(launch, "refused")
