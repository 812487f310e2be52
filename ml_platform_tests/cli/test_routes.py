"""`ml-platform routes` says where everything would run, and fails where a route is wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ml_platform.cli.routes import launcher_in
from ml_platform.errors import PlatformError
from ml_platform.project import LOCAL_INSTANCE
from ml_platform_tests.launchers.rig import instance_yaml, local
from ml_platform_tests.launchers.test_route_table import GPU


def routes(home: Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (home / "dagster.yaml").write_text(text)
    command = [sys.executable, "-c", "from ml_platform.cli import main; main()", "routes", *arguments]
    env = {**os.environ, "DAGSTER_HOME": str(home), "COLUMNS": "200"}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_the_real_pipelines_have_their_places_on_a_cluster(tmp_path: Path) -> None:
    done = routes(tmp_path, instance_yaml({"cpu": local("cpu"), "gpu": GPU}), "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = {one["asset"]: one for one in json.loads(done.stdout)["routes"]}
    on_gpu = {asset for asset, one in found.items() if one["launchers"] == ["gpu"]}
    assert on_gpu == {"digits/network", "flight_delays_network/network"}
    network = found["digits/network"]
    assert (network["namespace"], network["image"], network["resources"]) == (
        "ml-gpu", "ml:cuda", {"limits": {"nvidia.com/gpu": 1}},
    )  # fmt: skip
    assert "digits/evaluation:accuracy_is_high_enough" in found, "checks have places too"


def test_a_launcher_that_steps_ask_for_and_nobody_declared_fails_it(tmp_path: Path) -> None:
    done = routes(tmp_path, instance_yaml({"cpu": local("cpu"), "highmem": local("highmem")}))
    assert done.returncode == 1
    assert "wrong: step digits__network asks for launcher 'gpu', which does not exist" in done.stdout
    assert "Expected one of: cpu, highmem" in done.stdout
    assert "flight_delays/boosted" in done.stdout, "the others are listed all the same"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("run_launcher:\n  config:\n    launchers:\n      gpu: {}\n      gpu: {}\n", "key 'gpu' stands twice; first on line 4"),
        ("telemetry: {enabled: false}", "run_launcher is none, so Dagster's default; expected module ml_platform.launch"),
        ("run_launcher: {module: dagster_k8s, class: K8sRunLauncher}", "run_launcher is K8sRunLauncher; expected"),
        ("run_launcher: {class: RoutingRunLauncher, config: {default: cpu}}", '"launchers" at the root'),
        (instance_yaml({"cpu": local("cpu")}, default="gpu"), "default launcher 'gpu' is not among those"),
    ],
)  # fmt: skip
def test_an_instance_without_proper_launchers_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "dagster.yaml").write_text(text)
    with pytest.raises(PlatformError) as caught:
        launcher_in(tmp_path / "dagster.yaml")
    assert reason in str(caught.value)
    assert "dagster.yaml" in str(caught.value)


def test_the_local_deployment_has_the_launchers_that_our_pipelines_ask_for(tmp_path: Path) -> None:
    done = routes(tmp_path, LOCAL_INSTANCE.read_text())
    assert done.returncode == 0, done.stdout
