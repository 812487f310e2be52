"""A launcher that cannot be had is named, with what to do; the others work."""

import traceback
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from ml_platform.errors import LaunchError
from ml_platform.launchers import LocalRunLauncher, RoutingRunLauncher
from ml_platform.project import LOCAL_INSTANCE
from ml_platform_tests.launchers.rig import IMMEDIATELY, instance_yaml, kubernetes, local, rig_in

BROKEN = {
    "no_kubeconfig": (kubernetes(kubeconfig_file="/nowhere/config"), "cannot be set up: ConfigException: "),
    "wrong_config": (kubernetes(job_namspace="x"), 'its config in dagster.yaml is wrong: .*"job_namspace"'),
    "no_extra": ({"module": "dagster_docker", "class": "DockerRunLauncher"}, "install the package .*dagster-docker"),
    "no_class": ({"module": "dagster_k8s", "class": "K9sRunLauncher"}, "has no class 'K9sRunLauncher'"),
    "no_launcher": ({"module": "pathlib", "class": "Path"}, "pathlib.Path is not a run launcher"),
    "no_cores": (local("x", cores=0), "cores is 0; expected a whole number from 1"),
}


@pytest.mark.parametrize("config", [{"env_vars": [20260101]}, {"load_incluster_config": "of several\nlines: 20260101"}])
def test_a_value_of_the_wrong_type_is_not_shown(config: dict[str, Any]) -> None:
    launcher = RoutingRunLauncher("cpu", {"cpu": kubernetes(**config)})
    launcher.register_instance(dg.DagsterInstance.ephemeral())
    with pytest.raises(LaunchError, match=f"at path root:{next(iter(config))}") as refused:
        launcher.children["cpu"]
    assert "20260101" not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_with_a_launcher_is_said_and_the_others_can_be_had(name: str) -> None:
    launcher = RoutingRunLauncher("cpu", {"cpu": local("cpu"), name: BROKEN[name][0]})
    instance = dg.DagsterInstance.ephemeral()
    launcher.register_instance(instance)
    with pytest.raises(LaunchError, match=f"launcher {name}.*{BROKEN[name][1]}"):
        launcher.children[name]
    assert isinstance(launcher.children["cpu"], LocalRunLauncher)
    assert [type(child).__name__ for child in launcher.children.built()] == ["LocalRunLauncher"]


def test_an_unknown_default_is_refused_with_those_that_exist() -> None:
    with pytest.raises(LaunchError, match=r"default launcher 'cpi' .* did you mean 'cpu'"):
        RoutingRunLauncher("cpi", {"cpu": local("cpu")})


@pytest.mark.full
def test_a_run_for_a_broken_launcher_fails_and_says_why_while_others_run(tmp_path: Path) -> None:
    broken, reason = BROKEN["no_kubeconfig"]
    text = instance_yaml({"cpu": local("cpu"), "gpu": broken}, run_coordinator=IMMEDIATELY)
    with rig_in(tmp_path, text) as rig:
        with pytest.raises(AssertionError, match=f"LaunchError: launcher gpu .K8sRunLauncher. {reason}"):
            rig.launch("trained")
        mixed = rig.launch("raw", "clean", "trained", "quick_one")
        assert rig.finish(mixed).value == "FAILURE"
        assert set(rig.places(mixed)) == {"raw", "clean", "quick_one"}
        failed = [event for event in rig.events(mixed) if event.is_step_failure]
        assert [event.step_key for event in failed] == ["trained"]
        assert "launcher gpu (K8sRunLauncher) cannot be set up" in rig.log_text(mixed)
        assert rig.finish(rig.launch("raw")).value == "SUCCESS"


def test_a_mixed_run_is_refused_where_a_launcher_takes_whole_runs_only(tmp_path: Path) -> None:
    stock = {"module": "dagster", "class": "DefaultRunLauncher"}
    text = instance_yaml({"cpu": local("cpu"), "gpu": stock}, run_coordinator=IMMEDIATELY)
    with rig_in(tmp_path, text) as rig:
        with pytest.raises(AssertionError, match="launcher gpu, a DefaultRunLauncher, which takes whole runs only"):
            rig.launch("raw", "trained")
        whole = rig.launch("trained")
        assert rig.finish(whole).value == "SUCCESS", rig.log_text(whole)


def test_the_local_deployments_launchers_can_be_had() -> None:
    config = yaml.safe_load(LOCAL_INSTANCE.read_text())["run_launcher"]["config"]
    launcher = RoutingRunLauncher(**config)
    instance = dg.DagsterInstance.ephemeral()
    launcher.register_instance(instance)
    assert all(isinstance(launcher.children[name], LocalRunLauncher) for name in launcher.children)
