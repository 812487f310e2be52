"""How do the steps of a run reach a Kubernetes launcher that is one of several?"""

import json
from collections.abc import Mapping, Sequence
from copy import copy, deepcopy
from typing import Any

from dagster import DagsterEvent
from dagster._core.executor.step_delegating import StepHandlerContext
from dagster_k8s import K8sRunLauncher
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.executor import K8sStepHandler
from dagster_k8s.job import UserDefinedDagsterK8sConfig, get_user_defined_k8s_config
from dagster_shared.record import replace

from ml_platform.launchers.jobs import JobSite
from ml_platform.launchers.kinds import Config, Kind, Place
from ml_platform.launchers.schema import Launch

_THREADS: list[dict[str, Any]] = [
    # Kubernetes gives a container all cores of its node to look at; these are those that it owns.
    {"name": "OMP_NUM_THREADS", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
    {"name": "OMP_WAIT_POLICY", "value": "passive"},
]


class _AsIfAlone:
    """A Dagster instance whose run launcher is one of the children: what Dagster's step handler asks for."""

    def __init__(self, instance: Any, launcher: K8sRunLauncher):
        self._instance = instance
        self.run_launcher = launcher

    def __getattr__(self, name: str) -> Any:
        return getattr(self._instance, name)


class KubernetesSteps:
    """Dagster's own step handler, creating the jobs of launches on one of several launchers."""

    def __init__(self, launcher: K8sRunLauncher, site: JobSite):
        self.site = site
        self._launcher = launcher
        self._handler = K8sStepHandler(
            image=None,
            container_context=K8sContainerContext(),
            load_incluster_config=launcher.load_incluster_config,
            kubeconfig_file=launcher.kubeconfig_file,
        )
        self._handler._api_client = site.client

    def create(self, launch: Launch, context: StepHandlerContext) -> Sequence[DagsterEvent]:
        """Creates the job of a step's launch, or finds the one that was created for it."""
        seen = copy(context)
        seen._instance = _AsIfAlone(context.instance, self._launcher)  # type: ignore[assignment]
        # The launch decides who executes the step; Dagster's own look at what was started would refuse another try.
        seen._execute_step_args = replace(context.execute_step_args, should_verify_step=False)
        with self.site.client.creating(launch):
            return list(self._handler.launch_step(seen))


def _with_threads(config: Config) -> Config:
    """Adds the variables that hold numeric libraries to the container's cores, where the configuration has none."""
    with_threads: dict[str, Any] = deepcopy(dict(config))
    container: Any = with_threads.setdefault("run_k8s_config", {}).setdefault("container_config", {})
    given = {str(one).partition("=")[0] for one in config.get("env_vars", ())}
    given |= {str(one["name"]) for one in container.get("env", ())}
    container["env"] = [*container.get("env", ()), *(one for one in _THREADS if one["name"] not in given)]
    return with_threads


def _place_of(config: Config, tags: Mapping[str, str]) -> Place:
    """Says where a step's pod would be made and what it would ask for; no cluster is asked."""
    context = K8sContainerContext(
        namespace=_text(config.get("job_namespace", "default")),
        resources=config.get("resources", {}),
        run_k8s_config=UserDefinedDagsterK8sConfig.from_dict(config.get("run_k8s_config", {})),
    )
    merged: Any = context.merge(K8sContainerContext(run_k8s_config=get_user_defined_k8s_config(tags)))
    container: Any = merged.run_k8s_config.container_config
    image = container.get("image") or _text(config.get("job_image"))
    return Place(merged.namespace, image, container.get("resources") or None)


def _text(value: Any) -> str | None:
    """Gives a setting as it stands; one that comes from the environment by the variable's name."""
    if isinstance(value, Mapping):
        return f"${value['env']}" if "env" in value else json.dumps(value)
    return None if value is None else str(value)


KIND = Kind(site=JobSite, step_handler=KubernetesSteps, place_of=_place_of, with_threads=_with_threads)
