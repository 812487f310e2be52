"""What dagster-k8s does not promise is as the platform needs it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster_k8s import K8sRunLauncher

from ml_platform.compat import dagster_k8s
from ml_platform.launchers.backends.registry import _BACKENDS
from ml_platform_tests.compat.expecting import Expected, has, takes, uses

EXPECTED = Expected(dagster_k8s)
ELSEWHERE = {"client_of", "put_client", "report_no_creation"}  # which need a launcher


@pytest.fixture
def kubeconfig(tmp_path: Path) -> str:
    """Names a cluster that nobody asks."""
    named = {
        "clusters": [{"name": "none", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "nobody", "user": {}}],
        "contexts": [{"name": "none", "context": {"cluster": "none", "user": "nobody"}}],
        "current-context": "none",
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **named}))
    return str(path)


@pytest.fixture
def launcher(kubeconfig: str) -> K8sRunLauncher:
    return K8sRunLauncher("runs", "dagster", dagster_home="/d", load_incluster_config=False, kubeconfig_file=kubeconfig)


@pytest.mark.parametrize("name", sorted({*dagster_k8s.__all__} - ELSEWHERE))
def test_a_name_is_as_it_is_needed(name: str) -> None:
    EXPECTED.of[name]()


def test_something_is_expected_of_every_name() -> None:
    assert EXPECTED.of.keys() | ELSEWHERE == {*dagster_k8s.__all__}


def test_a_launcher_talks_with_the_client_that_is_put_into_it(launcher: K8sRunLauncher) -> None:
    """And says nothing of creating jobs: this is the table's entry of those that need a launcher."""
    stock = dagster_k8s.client_of(launcher)
    has(stock, "batch_api core_api create_namespaced_job_with_retries")
    has(
        stock.batch_api,
        "create_namespaced_job read_namespaced_job delete_namespaced_job list_namespaced_job api_client",
    )
    has(stock.core_api, "list_namespaced_pod delete_namespaced_pod list_namespaced_event")
    told, creating = [], "_report_run_worker_creating _api_client create_namespaced_job_with_retries"
    uses(K8sRunLauncher._launch_k8s_job_with_args, f"{creating} _report_run_worker_created")

    class Client:
        def create_namespaced_job_with_retries(self, **named: Any) -> None:
            told.append(sorted(named))

    dagster_k8s.put_client(launcher, Client())
    dagster_k8s.report_no_creation(launcher)
    assert isinstance(dagster_k8s.client_of(launcher), Client)
    launcher._api_client.create_namespaced_job_with_retries(body=None, namespace="ml")
    launcher._report_run_worker_creating(None, "a-job", "ml")  # type: ignore[arg-type]
    launcher._report_run_worker_created(None)  # type: ignore[arg-type]
    assert told == [["body", "namespace"]]


def test_a_launcher_says_how_it_is_configured(launcher: K8sRunLauncher) -> None:
    has(launcher, "job_namespace load_incluster_config kubeconfig_file")
    has(launcher, "only_allow_user_defined_k8s_config_fields only_allow_user_defined_env_vars")
    config = K8sRunLauncher.config_type()
    assert {"job_namespace", "job_image", "env_vars", "resources", "run_k8s_config"} <= set(config)


def test_a_handler_of_steps_talks_with_the_client_that_is_put_into_it(kubeconfig: str) -> None:
    handler = dagster_k8s.K8sStepHandler(
        image=None,
        container_context=dagster_k8s.K8sContainerContext(),
        load_incluster_config=False,
        kubeconfig_file=kubeconfig,
    )
    client = object()
    dagster_k8s.put_client(handler, client)
    assert handler._api_client is client
    uses(handler.launch_step, "_api_client create_namespaced_job_with_retries")


def test_launchers_are_known_by_the_name_that_they_have() -> None:
    assert f"{K8sRunLauncher.__module__}.{K8sRunLauncher.__qualname__}" in _BACKENDS


@EXPECTED("K8sStepHandler")
def what_starts_steps() -> None:
    named = "image container_context load_incluster_config kubeconfig_file"
    takes(dagster_k8s.K8sStepHandler, named=named)
    takes(dagster_k8s.K8sStepHandler.launch_step, "step_handler_context")
    # What it asks of a step's context is what ours answer.
    uses(dagster_k8s.K8sStepHandler.launch_step, "execute_step_args get_step_context")
    uses(dagster_k8s.K8sStepHandler._get_container_context, "instance run_launcher step_tags dagster_run")


@EXPECTED("USER_DEFINED_K8S_CONFIG_KEY", "K8S_RESOURCE_REQUIREMENTS_KEY")
def tags_of_pods() -> None:
    assert dagster_k8s.USER_DEFINED_K8S_CONFIG_KEY == "dagster-k8s/config"
    assert dagster_k8s.K8S_RESOURCE_REQUIREMENTS_KEY == "dagster-k8s/resource_requirements"


@EXPECTED("UserDefinedDagsterK8sConfig", "get_user_defined_k8s_config")
def what_tags_ask_for() -> None:
    asked = {"container_config": {"image": "ml:1"}}
    found = dagster_k8s.get_user_defined_k8s_config({"dagster-k8s/config": json.dumps(asked)})
    assert found == dagster_k8s.UserDefinedDagsterK8sConfig.from_dict(asked)
    assert found.to_dict()["container_config"] == asked["container_config"]
    limits = {"limits": {"cpu": "1"}}
    found = dagster_k8s.get_user_defined_k8s_config({"dagster-k8s/resource_requirements": json.dumps(limits)})
    assert found.container_config["resources"] == limits


@EXPECTED("K8sContainerContext")
def a_pod() -> None:
    def wants(image: str) -> dagster_k8s.UserDefinedDagsterK8sConfig:
        return dagster_k8s.UserDefinedDagsterK8sConfig.from_dict({"container_config": {"image": image}})

    limits = {"limits": {"cpu": "1"}}
    own = dagster_k8s.K8sContainerContext(namespace="ml", resources=limits, run_k8s_config=wants("ml:1"))
    merged = own.merge(dagster_k8s.K8sContainerContext(run_k8s_config=wants("ml:2")))
    assert merged.namespace == "ml"
    assert merged.run_k8s_config.container_config == {"image": "ml:2", "resources": limits}
    asked = dagster_k8s.K8sContainerContext(run_k8s_config=wants("ml:2"))
    kept = asked.validate_user_k8s_config_for_run({"container_config": {"image": True}}, None)
    assert kept.run_k8s_config.to_dict()["container_config"] == {"image": "ml:2"}
    with pytest.raises(Exception, match="image"):
        asked.validate_user_k8s_config_for_run({}, None)
