"""Starts runs and single steps on local processes, Kubernetes, Ray or any other launcher of Dagster's, exactly once.

`leases` holds the launch table and the lease that a process takes from it, `backends` what runs and steps are started
on, `steps` what starts single steps, `runs` the run launcher and what starts runs; the executor and its step router
stand on top. Installable without the rest of the platform.

In `dagster.yaml`, `module: ml_platform.launchers` and `class: RoutingRunLauncher`; in the definitions,
`executor=routing_executor`; on an asset, `op_tags={"ml_platform/launcher": "gpu"}`.
"""

from ml_platform.launchers.backends.local import LocalRunLauncher
from ml_platform.launchers.executor import routing_executor, routing_executor_with
from ml_platform.launchers.leases.lease import publishing
from ml_platform.launchers.routes import ISOLATED_TAG, LAUNCHER_TAG
from ml_platform.launchers.runs.coordinator import RoutingRunCoordinator
from ml_platform.launchers.runs.run_launcher import RoutingRunLauncher

__all__ = [
    "ISOLATED_TAG",
    "LAUNCHER_TAG",
    "LocalRunLauncher",
    "RoutingRunCoordinator",
    "RoutingRunLauncher",
    "publishing",
    "routing_executor",
    "routing_executor_with",
]
