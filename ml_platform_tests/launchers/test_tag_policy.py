"""Whatever tags somebody writes on a run, its pod has what is declared and no more; the run's log says what was changed."""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import dagster as dg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml_platform.errors import LaunchError
from ml_platform.launchers.leases.lease import LEASE_VARIABLE
from ml_platform.launchers.leases.schema import OUT_OF_MEMORY, work_of
from ml_platform.launchers.tag_policy import TagPolicy, describe_changes
from ml_platform_tests.launchers.world import World, world_in

EVIL: dict[str, Any] = {
    "container_config": {"security_context": {"privileged": True}, "image": "evil", "command": ["sh"]},
    "pod_spec_config": {"service_account_name": "admin", "host_network": True, "host_pid": True},
    "pod_template_spec_metadata": {"annotations": {"a": "b"}, "labels": {"a": "b"}},
    "job_spec_config": {"backoff_limit": 9},
    "job_metadata": {"namespace": "kube-system"},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world_in(tmp_path_factory.mktemp("policy")) as result:
        yield result


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world_in(tmp_path_factory.mktemp("stock"), is_stock=True) as result:
        yield result


def spec_of(world: World, run_id: str) -> dict[str, Any]:
    """What a run's job asks for, without what differs between any two runs."""
    (job,) = [job for job in world.cpu.jobs.values() if run_id in job["metadata"]["name"]]
    pod = deepcopy(job["spec"]["template"])
    (container,) = pod["spec"]["containers"]
    for key in ("args", "command"):
        container.pop(key, None)
    container["env"] = [one for one in container.get("env", ()) if one["name"] != LEASE_VARIABLE]
    keys = ("name", "labels", "annotations", "creationTimestamp")
    metadata = {key: value for key, value in pod["metadata"].items() if key not in keys}
    kept = {key: value for key, value in job["spec"].items() if key != "template"}
    selectors = sorted(key for key in pod["metadata"].get("labels", {}))
    return json.loads(json.dumps([kept, metadata, pod["spec"], selectors], default=str).replace(run_id, "RUN"))  # type: ignore[no-any-return]


def launched(world: World, tags: dict[str, str], job: str = "__ASSET_JOB") -> str:
    run_id = world.rig.launch("quick_one", tags=tags, job=job)
    while not any(run_id in name for _, name in world.cpu.jobs):
        world.dequeue()
    return run_id


HOSTILE = [
    {"dagster-k8s/config": json.dumps(EVIL)},
    *({"dagster-k8s/config": json.dumps({part: EVIL[part]})} for part in EVIL),
    {"dagster-k8s/config": "not JSON"},
    {"dagster-k8s/resource_requirements": "{}"},
    {"dagster-k8s/resource_requirements": json.dumps({"limits": {"nvidia.com/gpu": "8"}})},
    {"dagster-k8s/anything": "[]"},
    {"ml_platform/waiting_until": "9999999999"},
    {"ml_platform/launcher": "gpu"},
    {"dagster/image": "evil"},
]


@pytest.fixture(scope="module")
def plain(world: World) -> dict[str, Any]:
    return spec_of(world, launched(world, {}))


@pytest.mark.parametrize("tags", HOSTILE, ids=lambda tags: " ".join(map(str, tags.items()))[:60])
def test_a_pod_has_what_is_declared_and_no_more(world: World, plain: dict[str, Any], tags: dict[str, str]) -> None:
    run_id = launched(world, tags)
    assert spec_of(world, run_id) == plain
    changed = [key for key in tags if key.startswith(("dagster-k8s/", "ml_platform/waiting")) and tags[key] != "{}"]
    for key in changed:
        assert f"{key}: {tags[key][:100]!r} became '{{}}'" in world.rig.log_text(run_id)
        assert world.rig.run(run_id).tags[key] != tags[key]


@pytest.mark.parametrize(
    "tags",
    [{}, HOSTILE[0], {"dagster-k8s/resource_requirements": '{"limits": {"memory": "2Ti"}}'}],
    ids=["nothing", "a hostile tag", "another tag that takes the place of what is declared"],
)
def test_what_the_jobs_code_declares_stands_whatever_a_user_adds(
    world: World, plain: dict[str, Any], tags: dict[str, str]
) -> None:
    kept, metadata, pod, labels = spec_of(world, launched(world, tags, "declared"))
    assert pod["containers"][0]["resources"]["limits"]["memory"] == "9Gi"
    wanted = deepcopy(plain)
    pod["containers"][0]["resources"] = wanted[2]["containers"][0]["resources"]
    for one in (pod["containers"][0]["env"], wanted[2]["containers"][0]["env"]):
        one[:] = [each for each in one if each["name"] != "DAGSTER_RUN_JOB_NAME"]
    assert [kept, metadata, pod, labels] == wanted


@pytest.mark.full
def test_a_steps_pod_has_what_is_declared_and_no_more(world: World) -> None:
    pods = []
    for tags in ({}, HOSTILE[0]):
        run_id = world.rig.launch("counted", "counted_on_gpu", tags=tags)
        world.settle(run_id)
        (ran,) = [one for one in world.gpu.record if one.labels.get("dagster/run-id") == run_id]
        (job,) = [one for one in world.gpu.jobs.values() if one["metadata"]["labels"]["dagster/run-id"] == run_id]
        pod = job["spec"]["template"]["spec"]
        pods.append(
            (
                ran.image,
                ran.resources,
                ran.service_account,
                pod.get("hostNetwork"),
                pod["containers"][0].get("securityContext"),
            )
        )
    assert pods[0] == pods[1]


def test_on_the_stock_launcher_the_same_tag_makes_a_privileged_pod(stock: World) -> None:
    """Else nothing above would show anything."""
    run_id = launched(stock, HOSTILE[0])
    (_, _, pod, _) = spec_of(stock, run_id)
    assert pod["containers"][0]["securityContext"]["privileged"]
    assert pod["serviceAccountName"] == "admin"


def test_a_run_that_came_past_the_coordinator_has_no_more(world: World, plain: dict[str, Any]) -> None:
    run_id = world.rig.launch("quick_one")
    world.rig.instance.add_run_tags(run_id, HOSTILE[0])
    while not any(run_id in name for _, name in world.cpu.jobs):
        world.dequeue()
    assert spec_of(world, run_id) == plain


@pytest.mark.parametrize(
    ("key", "value", "became"),
    [
        ("dagster/priority", "9000", "100"),
        ("dagster/priority", "-9000", "-100"),
        ("dagster/priority", "high", "0"),
        ("dagster/priority", "7", "7"),
        ("dagster/max_runtime", "nan", "604800"),
        ("dagster/max_runtime", "inf", "604800"),
        ("dagster/max_runtime", "-1", "604800"),
        ("dagster/max_runtime", "0", "604800"),
        ("dagster/max_runtime", "1e99", "604800"),
        ("dagster/max_runtime_seconds", "never", "604800"),
        ("dagster/max_runtime", "60.5", "60.5"),
        ("dagster/max_retries", "1000000", "10"),
        ("dagster/max_retries", "-3", "0"),
        (".dagster/run_metrics_polling_interval", "0", "30"),
        (".dagster/run_metrics_polling_interval", "nan", "30"),
        (".dagster/run_metrics_polling_interval", "60", "60"),
        (".dagster/grpc_info", '{"host": "evil"}', "{}"),
        ("docker/container_id", "another", "{}"),
        ("dagster/failure_reason", "because", ""),
        ("dagster/will_retry", "true", ""),
        ("team", "nan", "nan"),
    ],
)
def test_numbers_are_clamped(key: str, value: str, became: str) -> None:
    assert {key: value, **TagPolicy().changes({key: value}, {})} == {key: became}


def test_what_the_code_declares_stands_and_what_a_user_makes_of_it_does_not() -> None:
    declared = {"dagster-k8s/config": '{"a": 1}', "dagster/priority": "500"}
    assert TagPolicy().changes(declared, declared) == {}
    changed = TagPolicy().changes({"dagster-k8s/config": '{"a": 2}', "dagster/priority": "501"}, declared)
    assert changed == {"dagster-k8s/config": '{"a": 1}', "dagster/priority": "100"}


def test_a_runs_log_stays_short_whatever_the_keys() -> None:
    tags = {f"dagster-k8s/{number}{'x' * 10_000}": "y" * 10_000 for number in range(1000)}
    run = dg.DagsterRun(job_name="job", tags=tags)
    said = describe_changes(run, TagPolicy().changes(tags, {}))
    assert len(said) < 30_000
    assert "and 900 more" in said


def test_a_run_counts_as_another_try_of_its_own_job_only(world: World) -> None:
    """Whoever launches a run may name any run as the first of those that it tries again."""
    launches = world.launches
    ours, theirs = (dg.DagsterRun(job_name=job, tags={"dagster/root_run_id": "first"}) for job in ("ours", "theirs"))
    launches.release(launches.intend(work_of(theirs, "step"), "cpu"), OUT_OF_MEMORY)
    assert launches.tries_of(work_of(ours, "step")) == []
    assert world.rig.launcher.starter.level_of(ours, "step") == 0
    assert world.rig.launcher.starter.level_of(theirs, "step") == 1


def test_limits_are_what_dagster_yaml_says_and_a_wrong_one_is_refused() -> None:
    assert TagPolicy(max_priority=3).changes({"dagster/priority": "9"}, {}) == {"dagster/priority": "3"}
    with pytest.raises(LaunchError, match=r"tag_policy: max_retries is -1; expected a whole number from 0"):
        TagPolicy(max_retries=-1)


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(tags=st.dictionaries(
    st.sampled_from(["dagster-k8s/config", "dagster/priority", "dagster/max_runtime", "dagster/max_retries", "team"])
    | st.text(max_size=20).map(lambda end: f"dagster-k8s/{end}"),
    st.text(max_size=20) | st.floats().map(str) | st.integers().map(str),
))  # fmt: skip
def test_after_the_policy_there_is_nothing_for_it_to_change(tags: dict[str, str]) -> None:
    policy = TagPolicy()
    after = {**tags, **policy.changes(tags, {})}
    assert policy.changes(after, {}) == {}
    assert all(value == "{}" for key, value in after.items() if key.startswith("dagster-k8s/"))
    assert abs(int(after.get("dagster/priority", "0"))) <= policy.max_priority
    assert 0 < float(after.get("dagster/max_runtime", "1")) <= policy.max_runtime_seconds


def test_the_instance_refuses_a_policy_that_nobody_knows() -> None:
    from ml_platform.compat.dagster import process_config
    from ml_platform.launchers import RoutingRunLauncher

    config = {"default": "cpu", "launchers": {}, "tag_policy": {"max_prio": 3}}
    found = process_config(dg.Shape(RoutingRunLauncher.config_type()), config)
    assert not found.success
    assert 'Received unexpected config entry "max_prio"' in str(found.errors)
