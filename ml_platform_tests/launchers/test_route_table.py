"""What a step would get is known with no cluster at hand; what is wrong is all said at once."""

from typing import Any

import dagster as dg

from ml_platform.launchers import ISOLATED_TAG, LAUNCHER_TAG, RoutingRunLauncher, routing_executor
from ml_platform.launchers.route_table import RouteRow, list_routes
from ml_platform_tests.launchers.backends.test_configured_launchers import BROKEN
from ml_platform_tests.launchers.rig import kubernetes, local

GPU = kubernetes(
    job_namespace="ml-gpu", job_image="ml:cuda", kubeconfig_file="/nowhere", resources={"limits": {"nvidia.com/gpu": 1}}
)


def asset_named(name: str, **tags: Any) -> dg.AssetsDefinition:
    return dg.asset(name=name, op_tags={key.replace("__", "/"): value for key, value in tags.items()})(lambda: None)


def listed(assets: list[dg.AssetsDefinition], jobs: tuple[Any, ...] = (), **launchers: Any) -> Any:
    definitions = dg.Definitions(assets=assets, executor=routing_executor, jobs=jobs)
    return list_routes(definitions, RoutingRunLauncher("cpu", {"cpu": local("cpu", cores=2), **launchers}))


def test_each_asset_is_listed_with_what_it_gets() -> None:
    found, problems = listed(
        [
            asset_named("a"),
            asset_named("b", ml_platform__launcher=["gpu", "cpu"]),
            asset_named("c", ml_platform__isolated="true"),
        ],
        gpu=GPU,
    )
    assert problems == []
    assert found == [
        RouteRow("a", "a", ("cpu",), "LocalRunLauncher", None, None, {"cores": 2}, isolated=False),
        RouteRow(
            "b", "b", ("gpu", "cpu"), "K8sRunLauncher", "ml-gpu", "ml:cuda", {"limits": {"nvidia.com/gpu": 1}},
            isolated=False,
        ),
        RouteRow("c", "c", ("cpu",), "LocalRunLauncher", None, None, {"cores": 2}, isolated=True),
    ]  # fmt: skip
    assert (LAUNCHER_TAG, ISOLATED_TAG) == ("ml_platform/launcher", "ml_platform/isolated")


def test_a_steps_own_pod_settings_stand_over_its_launchers() -> None:
    config = {"container_config": {"image": "mine:1", "resources": {"limits": {"nvidia.com/gpu": 4}}}}
    asset = dg.asset(name="a", op_tags={LAUNCHER_TAG: "gpu", "dagster-k8s/config": config})(lambda: None)
    ((one,), _) = listed([asset], gpu=GPU)
    assert (one.image, one.resources, one.isolated) == ("mine:1", {"limits": {"nvidia.com/gpu": 4}}, True)


def test_a_setting_from_the_environment_is_shown_by_its_variable() -> None:
    ((one,), _) = listed(
        [asset_named("a", ml_platform__launcher="gpu")], gpu=kubernetes(job_namespace={"env": "NAMESPACE"})
    )
    assert one.namespace == "$NAMESPACE"


def test_everything_wrong_is_said_at_once() -> None:
    assets = [
        asset_named("a", ml_platform__launcher="gpuu"),
        asset_named("b", ml_platform__launcher=["gpu", "gpu"]),
        asset_named("c"),
    ]
    _, problems = listed(assets, gpu=GPU, docker=BROKEN["no_extra"][0])
    assert len(problems) == 3, problems
    text = "\n".join(problems)
    for part in (
        "asks for launcher 'gpuu'",
        "did you mean 'gpu'",
        'step b asks for launchers ["gpu", "gpu"]; expected',
        "launcher docker is a",
    ):
        assert part in text


def test_a_mixed_job_with_steps_for_a_launcher_of_whole_runs_is_named() -> None:
    stock = {"module": "dagster", "class": "DefaultRunLauncher"}
    assets = [asset_named("a"), asset_named("b", ml_platform__launcher="gpu")]
    jobs = (dg.define_asset_job("nightly", ["a", "b"]), dg.define_asset_job("training", ["b"]))
    found, problems = listed(assets, jobs, gpu=stock)
    assert [one.asset for one in found] == ["a", "b"]
    assert {problem.partition(":")[0] for problem in problems} == {"all assets together", "job nightly"}
    assert all("step b asks for launcher gpu, a DefaultRunLauncher, which takes whole runs only" in p for p in problems)
