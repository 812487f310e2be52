"""What must be known of a class of launchers beyond how it starts runs: how it takes single steps, what they get?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from ml_platform.compat.dagster import RunLauncher
from ml_platform.errors import LaunchError
from ml_platform.launchers.backends.protocol import Patience, Site, StrangerSite
from ml_platform.launchers.leases.table import Launches
from ml_platform.plugins import added, load

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Place:
    """What a step gets on a launcher, as far as its configuration says."""

    namespace: str | None = None
    image: str | None = None
    resources: Config | None = None


@dataclass(frozen=True)
class Kind:
    """What is known of a class of launchers.

    Attributes:
        site: makes what starts, finds and ends launches on one of its launchers.
        step_handler: makes what sends single steps to such a site, `LocalSteps` or what `CreatesSteps`; None if only
            whole runs can go there.
        place_of: says what a step with these op tags gets, from the launcher's configuration alone.
        with_threads: gives the configuration so that numeric libraries use the cores that a step owns.
    """

    site: Callable[[Any, Launches, Patience], Site] = StrangerSite
    step_handler: Callable[[Any, Any], Any] | None = None
    place_of: Callable[[Config, Mapping[str, str]], Place] = lambda _config, _tags: Place()
    with_threads: Callable[[Config], Config] = lambda config: config


# By the name of a class or one of its bases: importing a module here costs seconds, and it may not be installed.
_KINDS = {
    "dagster_ray.core.run_launcher.RayRunLauncher": "ml_platform.launchers.backends.ray",
    "dagster_k8s.launcher.K8sRunLauncher": "ml_platform.launchers.backends.kubernetes",
    "ml_platform.launchers.backends.local.LocalRunLauncher": "ml_platform.launchers.backends.local",
}
_GROUP = "ml_platform.launchers"  # of entry points: other distributions may say more of classes of their own


def kind_of(launcher: type[RunLauncher[Any]]) -> Kind:
    """Finds what is known of a class; nothing beyond whole runs where it is a stranger."""
    for base in launcher.__mro__:
        name = f"{base.__module__}.{base.__qualname__}"
        if name in _KINDS:
            kind: Kind = import_module(_KINDS[name]).KIND
            return kind
        if name in added(_GROUP):
            return _added(name)
    return Kind()


def _added(name: str) -> Kind:
    found = load(_GROUP, name)
    if not isinstance(found, Kind):
        raise LaunchError(
            f"{_GROUP}: {name!r} is {found!r:.80}; expected a ml_platform.launchers.backends.registry.Kind"
        )
    return found
