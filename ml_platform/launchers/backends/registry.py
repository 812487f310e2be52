"""Registers the backend of each run launcher class, with the namespace, image and resources of its steps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from ml_platform.compat.dagster import RunLauncher
from ml_platform.errors import LaunchError
from ml_platform.launchers.backends.protocol import Backend, GenericBackend, Timeouts
from ml_platform.launchers.leases.table import Launches
from ml_platform.plugins import added, load

Config = Mapping[str, Any]


@dataclass(frozen=True)
class StepResources:
    """The namespace, image and resources that a step gets on a launcher, from its configuration alone."""

    namespace: str | None = None
    image: str | None = None
    resources: Config | None = None


@dataclass(frozen=True)
class BackendSpec:
    """How the platform uses one class of launchers.

    Attributes:
        backend: makes what starts, finds and ends launches on one of its launchers.
        step_handler: makes what sends single steps to such a backend, `LocalSteps` or what `CreatesSteps`; None if only
            whole runs can go there.
        step_resources_of: says what a step with these op tags gets, from the launcher's configuration alone.
        with_threads: gives the configuration so that numeric libraries use the cores that a step owns.
    """

    backend: Callable[[Any, Launches, Timeouts], Backend] = GenericBackend
    step_handler: Callable[[Any, Any], Any] | None = None
    step_resources_of: Callable[[Config, Mapping[str, str]], StepResources] = lambda _config, _tags: StepResources()
    with_threads: Callable[[Config], Config] = lambda config: config


# By the name of a class or one of its bases: importing a module here costs seconds, and it may not be installed.
_BACKENDS = {
    "dagster_ray.core.run_launcher.RayRunLauncher": "ml_platform.launchers.backends.ray",
    "dagster_k8s.launcher.K8sRunLauncher": "ml_platform.launchers.backends.kubernetes",
    "ml_platform.launchers.backends.local.LocalRunLauncher": "ml_platform.launchers.backends.local",
}
_GROUP = "ml_platform.launchers"  # of entry points: other distributions add specs for classes of their own


def backend_spec_of(launcher: type[RunLauncher[Any]]) -> BackendSpec:
    """Returns the spec of a class or of its nearest base that has one; a class without takes whole runs only."""
    for base in launcher.__mro__:
        name = f"{base.__module__}.{base.__qualname__}"
        if name in _BACKENDS:
            spec: BackendSpec = import_module(_BACKENDS[name]).BACKEND
            return spec
        if name in added(_GROUP):
            return _added(name)
    return BackendSpec()


def _added(name: str) -> BackendSpec:
    found = load(_GROUP, name)
    if not isinstance(found, BackendSpec):
        raise LaunchError(
            f"{_GROUP}: {name!r} is {found!r:.80}; expected a ml_platform.launchers.backends.registry.BackendSpec"
        )
    return found
