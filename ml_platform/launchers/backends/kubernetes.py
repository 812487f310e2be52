"""Starts runs and single steps on one of several Kubernetes launchers."""

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from dagster import DagsterEvent
from dagster_k8s import K8sRunLauncher

from ml_platform.compat.dagster import replace
from ml_platform.compat.dagster_k8s import (
    K8S_RESOURCE_REQUIREMENTS_KEY,
    USER_DEFINED_K8S_CONFIG_KEY,
    K8sContainerContext,
    K8sStepHandler,
    UserDefinedDagsterK8sConfig,
    get_user_defined_k8s_config,
    put_client,
)
from ml_platform.compat.dagster_steps import StepHandlerContext
from ml_platform.errors import LaunchError
from ml_platform.launchers.backends.kubernetes_jobs import JobBackend
from ml_platform.launchers.backends.local_steps import key_of
from ml_platform.launchers.backends.registry import BackendSpec, Config, StepResources
from ml_platform.launchers.leases.schema import Launch

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


class _Allowed(StepHandlerContext):
    """A step as a launcher takes it: with those of its tags that the launcher allows.

    Raises:
        LaunchError: the step's tags ask for more.
    """

    def __init__(self, asked: StepHandlerContext, launcher: K8sRunLauncher):
        instance: Any = _AsIfAlone(asked.instance, launcher)
        plan: Any = None
        # The launch decides who executes the step; Dagster's own look at what was started would refuse another try.
        args = replace(asked.execute_step_args, should_verify_step=False)
        super().__init__(instance, plan, [], args, asked.dagster_run)
        self._asked = asked
        self._tags = {key_of(asked): _allowed(asked.step_tags[key_of(asked)], launcher)}

    @property
    def step_tags(self) -> Mapping[str, Mapping[str, str]]:
        """Returns the step's tags."""
        return self._tags

    def get_step_context(self, step_key: str) -> Any:
        """Returns what events are written with."""
        return self._asked.get_step_context(step_key)


def _allowed(tags: Mapping[str, str], launcher: K8sRunLauncher) -> Mapping[str, str]:
    """Holds a step's settings to what `dagster.yaml` allows runs; Dagster itself looks at those of runs alone."""
    if not {USER_DEFINED_K8S_CONFIG_KEY, K8S_RESOURCE_REQUIREMENTS_KEY} & set(tags):
        return tags
    asked = K8sContainerContext(run_k8s_config=get_user_defined_k8s_config(tags))
    fields, variables = launcher.only_allow_user_defined_k8s_config_fields, launcher.only_allow_user_defined_env_vars
    try:
        kept = asked.validate_user_k8s_config_for_run(fields, variables)
    except Exception as error:  # Dagster raises no other
        raise LaunchError(
            f"{error}; the launcher allows a step's dagster-k8s/config what only_allow_user_defined_k8s_config_fields "
            "in dagster.yaml names"
        ) from error
    said = {name: value for name, value in kept.run_k8s_config.to_dict().items() if value}
    return {USER_DEFINED_K8S_CONFIG_KEY: json.dumps(said)}


class KubernetesSteps:
    """Dagster's own step handler, creating the jobs of launches on one of several launchers."""

    def __init__(self, launcher: K8sRunLauncher, backend: JobBackend):
        self.backend = backend
        self._launcher = launcher
        self._handler = K8sStepHandler(
            image=None,
            container_context=K8sContainerContext(),
            load_incluster_config=launcher.load_incluster_config,
            kubeconfig_file=launcher.kubeconfig_file,
        )
        # Dagster's handler would create jobs by a client of its own, outside the lease.
        put_client(self._handler, backend.client)

    def create(self, launch: Launch, context: StepHandlerContext) -> Sequence[DagsterEvent]:
        """Creates the job of a step's launch, or finds the one that was created for it."""
        seen = _Allowed(context, self._launcher)
        with self.backend.client.creating(launch):
            return list(self._handler.launch_step(seen))


def _with_threads(config: Config) -> Config:
    """Adds the variables that hold numeric libraries to the container's cores, where the configuration has none."""
    with_threads: dict[str, Any] = deepcopy(dict(config))
    container: Any = with_threads.setdefault("run_k8s_config", {}).setdefault("container_config", {})
    given = {str(one).partition("=")[0] for one in config.get("env_vars", ())}
    given |= {str(one["name"]) for one in container.get("env", ())}
    container["env"] = [*container.get("env", ()), *(one for one in _THREADS if one["name"] not in given)]
    return with_threads


def _step_resources_of(config: Config, tags: Mapping[str, str]) -> StepResources:
    """Says where a step's pod would be made and what it would ask for; no cluster is asked."""
    context = K8sContainerContext(
        namespace=_text(config.get("job_namespace", "default")),
        resources=config.get("resources", {}),
        run_k8s_config=UserDefinedDagsterK8sConfig.from_dict(config.get("run_k8s_config", {})),
    )
    merged: Any = context.merge(K8sContainerContext(run_k8s_config=get_user_defined_k8s_config(tags)))
    container: Any = merged.run_k8s_config.container_config
    image = container.get("image") or _text(config.get("job_image"))
    return StepResources(merged.namespace, image, container.get("resources") or None)


def _text(value: Any) -> str | None:
    """Returns a setting as it stands; one that comes from the environment by the variable's name."""
    if isinstance(value, Mapping):
        return f"${value['env']}" if "env" in value else json.dumps(value)
    return None if value is None else str(value)


BACKEND = BackendSpec(
    backend=JobBackend, step_handler=KubernetesSteps, step_resources_of=_step_resources_of, with_threads=_with_threads
)
