"""Private names of dagster-k8s that the platform relies on, re-exported in one place."""

from typing import Any

from dagster_k8s import K8sRunLauncher

# What a pod is to be like: as a launcher is configured, and as a step's tags say.
from dagster_k8s.container_context import K8sContainerContext

# What creates the job of a step.
from dagster_k8s.executor import K8sStepHandler
from dagster_k8s.job import (
    K8S_RESOURCE_REQUIREMENTS_KEY,
    USER_DEFINED_K8S_CONFIG_KEY,
    UserDefinedDagsterK8sConfig,
    get_user_defined_k8s_config,
)

__all__ = [
    "K8S_RESOURCE_REQUIREMENTS_KEY",
    "USER_DEFINED_K8S_CONFIG_KEY",
    "K8sContainerContext",
    "K8sStepHandler",
    "UserDefinedDagsterK8sConfig",
    "client_of",
    "get_user_defined_k8s_config",
    "put_client",
    "report_no_creation",
]


def client_of(launcher: K8sRunLauncher) -> Any:
    """Returns the client with which a launcher talks to its cluster."""
    return launcher._api_client


def put_client(owner: K8sRunLauncher | K8sStepHandler, client: Any) -> None:
    """Has a launcher, or a handler of steps, talk to its cluster with another client."""
    owner._api_client = client


def report_no_creation(launcher: K8sRunLauncher) -> None:
    """Has a launcher say nothing of a job before and after it is created."""
    told: Any = launcher
    told._report_run_worker_creating = told._report_run_worker_created = _silently


def _silently(*_arguments: Any, **_named: Any) -> None:
    """Reports nothing."""
