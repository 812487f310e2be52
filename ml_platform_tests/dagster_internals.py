"""Names that tests alone need and their libraries do not promise, each imported when it is asked for.

What the platform needs too stands in `ml_platform.compat`. Nothing is imported here beforehand: a test, or a process of
one, has what it names, and no daemon, workspace or cluster's client besides.
"""

from importlib import import_module
from typing import Any

# The module that each is in.
MODULES = {
    # Code locations, and where a run or a schedule comes from.
    "GrpcServerCodeLocationOrigin": "dagster._core.remote_origin",
    "InProcessCodeLocationOrigin": "dagster._core.remote_origin",
    "InProcessWorkspaceLoadTarget": "dagster._core.workspace.load_target",
    "JobPythonOrigin": "dagster._core.origin",
    "LoadableTargetOrigin": "dagster._core.types.loadable_target_origin",
    "ModuleCodePointer": "dagster._core.code_pointer",
    "ModuleTarget": "dagster._core.workspace.load_target",
    "PythonFileTarget": "dagster._core.workspace.load_target",
    "RegisteredCodeLocationOrigin": "dagster._core.remote_origin",
    "RemoteInstigatorOrigin": "dagster._core.remote_origin",
    "RemoteJobOrigin": "dagster._core.remote_origin",
    "RemoteRepositoryOrigin": "dagster._core.remote_origin",
    "RepositoryPythonOrigin": "dagster._core.origin",
    "WorkspaceProcessContext": "dagster._core.workspace.context",
    # The daemon's work, done once.
    "QueuedRunCoordinatorDaemon": "dagster._daemon.run_coordinator.queued_run_coordinator_daemon",
    "execute_run_monitoring_iteration": "dagster._daemon.monitoring.run_monitoring",
    # Runs and what becomes of them, made without a launcher.
    "DagsterRunAlreadyExists": "dagster._core.errors",
    "InstigatorState": "dagster._core.scheduler.instigation",
    "InstigatorStatus": "dagster._core.scheduler.instigation",
    "InstigatorType": "dagster._core.scheduler.instigation",
    "SensorInstigatorData": "dagster._core.scheduler.instigation",
    "SqliteEventLogStorage": "dagster._core.storage.event_log",
    "SqliteRunStorage": "dagster._core.storage.runs",
    "StepMaterializationData": "dagster._core.events",
    "create_run_for_test": "dagster._core.test_utils",
    "make_new_run_id": "dagster._core.utils",
    # What Dagster's own resolution would say.
    "AssetGraphView": "dagster._core.asset_graph_view.asset_graph_view",
    "CachingStaleStatusResolver": "dagster._core.definitions.data_version",
    "InMemoryJob": "dagster._core.definitions.job_base",
    "ScopedResourcesBuilder": "dagster._core.definitions.resource_definition",
    # Clients of a cluster and of a database.
    "DagsterKubernetesClient": "dagster_k8s.client",
    "DagsterPostgresException": "dagster_postgres.utils",
    # scikit-learn: its threads, and an instance of each of its estimators.
    "_construct_instances": "sklearn.utils._test_common.instance_generator",
    "_openmp_effective_n_threads": "sklearn.utils._openmp_helpers",
}


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(MODULES[name]), name)
