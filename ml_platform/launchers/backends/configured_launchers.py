"""Builds the run launchers configured under the routing launcher lazily, and isolates their failures."""

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, TypeVar

from dagster import DagsterInstance, DagsterInvalidConfigError
from yaml import safe_dump

from ml_platform.compat.dagster import ConfigurableClassData, RunLauncher
from ml_platform.errors import LaunchError, expected_one_of
from ml_platform.extras import EXTRAS
from ml_platform.launchers.backends.registry import BackendSpec, backend_spec_of

Result = TypeVar("Result")

# The Kubernetes client keeps its configuration in a global while a launcher is built: two launchers that are built at
# a time would get each other's cluster.
_BUILDING = threading.RLock()


class ConfiguredLaunchers:
    """Named launchers, each built when it is first needed.

    Args:
        declared: name to `{module, class, config}`, as in `dagster.yaml`.
    """

    def __init__(self, declared: Mapping[str, Mapping[str, Any]], instance: Callable[[], DagsterInstance]):
        self._declared = declared
        self._instance = instance
        self._built: dict[str, RunLauncher[Any]] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._declared)

    def built(self) -> list[RunLauncher[Any]]:
        """Lists those that were needed so far."""
        return list(self._built.values())

    def config_of(self, name: str) -> Mapping[str, Any]:
        """Returns what `dagster.yaml` says of a launcher."""
        self._require(name)
        return self._declared[name].get("config") or {}

    def class_of(self, name: str) -> type[RunLauncher[Any]]:
        """Imports a launcher's class; nothing is built.

        Raises:
            LaunchError: no such launcher, or a package that is not installed.
        """
        self._require(name)
        module, class_name = self._declared[name]["module"], self._declared[name]["class"]
        try:
            found = getattr(import_module(module), class_name)
        except ImportError as error:
            raise LaunchError(
                f"launcher {name} is a {module}.{class_name}, which cannot be imported here ({error}); "
                f"install the package that has it ({_distribution_of(module)}), or name another class in dagster.yaml"
            ) from error
        except AttributeError as error:
            raise LaunchError(f"launcher {name}: module {module} has no class {class_name!r}") from error
        if not (isinstance(found, type) and issubclass(found, RunLauncher)):
            raise LaunchError(f"launcher {name}: {module}.{class_name} is not a run launcher of Dagster's")
        return found

    def backend_spec(self, name: str) -> BackendSpec:
        """Returns how the platform uses a launcher's class."""
        return backend_spec_of(self.class_of(name))

    def __getitem__(self, name: str) -> RunLauncher[Any]:
        """Returns a launcher, built if it was not yet.

        Raises:
            LaunchError: it cannot be built; the others are as they were.
        """
        with _BUILDING:
            if name not in self._built:
                self._built[name] = self._build(name)
            return self._built[name]

    def using(self, name: str, make: Callable[[RunLauncher[Any]], Result]) -> Result:
        """Calls `make` with a launcher while no other is being built.

        Raises:
            LaunchError: the launcher, or what is made from it, cannot be set up.
        """
        with _BUILDING, _setting_up(name, type(self[name])):
            return make(self[name])

    def _build(self, name: str) -> RunLauncher[Any]:
        found = self.class_of(name)
        config = backend_spec_of(found).with_threads(self.config_of(name))
        declared = self._declared[name]
        data = ConfigurableClassData(declared["module"], declared["class"], safe_dump(dict(config)))
        with _setting_up(name, found):
            child: RunLauncher[Any] = data.rehydrate(as_type=RunLauncher)  # type: ignore[type-abstract]
        child.register_instance(self._instance())
        return child

    def _require(self, name: str) -> None:
        if name not in self._declared:
            raise LaunchError(f"no launcher {name!r}; {expected_one_of(name, self._declared)}")


@contextmanager
def _setting_up(name: str, launcher: type[RunLauncher[Any]]) -> Iterator[None]:
    """Says which launcher it is about whose setting up fails."""
    try:
        yield
    except LaunchError as error:
        raise LaunchError(f"launcher {name}: {error}") from error
    except DagsterInvalidConfigError as error:
        # A value of the wrong type may be a secret whose quotes were forgotten, and the error shows the whole config.
        reasons = "; ".join(re.sub(r'(?s)Value ".*" of type', "A value of type", one.message) for one in error.errors)
        raise LaunchError(f"launcher {name}: its config in dagster.yaml is wrong: {reasons}") from None
    except Exception as error:
        # Whatever a launcher's constructor raises: a kubeconfig that is not there, a cluster's certificate, ...
        reason = f"{type(error).__name__}: {error}"
        raise LaunchError(f"launcher {name} ({launcher.__name__}) cannot be set up: {reason}") from error


def _distribution_of(module: str) -> str:
    package = module.partition(".")[0]
    extra, _ = EXTRAS.get(package, ("", ""))
    return f"pip install '{f'ml_platform[{extra}]' if extra else package.replace('_', '-')}'"
