"""A Dagster instance with launchers by name, and runs launched on it as the UI launches them."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from dagster_graphql.cli import execute_query

from ml_platform.launchers import RoutingRunLauncher
from ml_platform_tests.dagster_internals import ModuleTarget, PythonFileTarget, WorkspaceProcessContext
from ml_platform_tests.servers import PATIENT_SECONDS

MODULE = "ml_platform_tests.launchers.location"
LAUNCH = """mutation ($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
REEXECUTE = """mutation ($params: ReexecutionParams!) { launchPipelineReexecution(reexecutionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
TERMINATE = "mutation ($id: String!) { terminateRun(runId: $id) { __typename ... on PythonError { message } } }"


def local(place: str, **config: Any) -> dict[str, Any]:
    """Declares a local launcher whose processes know its name."""
    return {
        "module": "ml_platform.launchers",
        "class": "LocalRunLauncher",
        "config": {"env": {"PLACE": place}, **config},
    }


def kubernetes(**config: Any) -> dict[str, Any]:
    """Declares a Kubernetes launcher."""
    always = {
        "service_account_name": "ml-run",
        "instance_config_map": "dagster",
        "dagster_home": "/opt/dagster",
        "load_incluster_config": False,
    }
    return {"module": "dagster_k8s", "class": "K8sRunLauncher", "config": {**always, **config}}


def instance_yaml(
    launchers: Mapping[str, Any],
    default: str = "cpu",
    timeouts: Mapping[str, float] | None = None,
    stock: Mapping[str, Any] | None = None,
    steps_started_by: str = "run",
    **more: Any,
) -> str:
    """Returns the YAML of an instance with these launchers, or with `stock` alone and nothing of ours around it."""
    routing = {
        "module": "ml_platform.launchers",
        "class": "RoutingRunLauncher",
        "config": {
            "default": default,
            "launchers": dict(launchers),
            "steps_started_by": steps_started_by,
            **({"timeouts": dict(timeouts)} if timeouts else {}),
        },
    }
    return yaml.safe_dump({"run_launcher": dict(stock) if stock else routing, "telemetry": {"enabled": False}, **more})


def event_log(home: Path) -> dict[str, Any]:
    """Returns the YAML of the event log that the local deployment has: an event costs little there."""
    config = {"base_dir": str(home / "storage")}
    return {"module": "ml_platform.storages.sqlite", "class": "KeptEngineSqliteEventLogStorage", "config": config}


IMMEDIATELY = {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"}


class Rig:
    """An instance, and a process that serves the code of the tests' location."""

    def __init__(self, instance: dg.DagsterInstance, process: WorkspaceProcessContext):
        self.instance = instance
        self.process = process

    @property
    def launcher(self) -> RoutingRunLauncher:
        launcher = self.instance.run_launcher
        assert isinstance(launcher, RoutingRunLauncher)
        return launcher

    def launch(
        self, *assets: str, checks: Sequence[str] | None = None, job: str = "__ASSET_JOB", tags: Mapping[str, str] = {}
    ) -> str:
        """Launches a run of some assets; returns its id."""
        selector: dict[str, Any] = {
            "repositoryLocationName": "tests",
            "repositoryName": "__repository__",
            "pipelineName": job,
        }
        if assets or checks:
            selector["assetSelection"] = [{"path": [name]} for name in assets]
        if checks is not None:
            selector["assetCheckSelection"] = [{"assetKey": {"path": ["trained"]}, "name": name} for name in checks]
        tag_list = [{"key": key, "value": value} for key, value in tags.items()]
        params = {"selector": selector, "runConfigData": {}, "mode": "default", "executionMetadata": {"tags": tag_list}}
        return self._launched(LAUNCH, "launchPipelineExecution", params)

    def reexecute(self, run_id: str) -> str:
        """Executes again what failed of a run, as the UI's "from failure"."""
        return self._launched(
            REEXECUTE, "launchPipelineReexecution", {"parentRunId": run_id, "strategy": "FROM_FAILURE"}
        )

    def _launched(self, query: str, name: str, params: Mapping[str, Any]) -> str:
        answer = self.ask(query, params=params)[name]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        found = execute_query(self.process, query, variables)
        assert "errors" not in found, found
        return dict(found["data"])

    def terminate(self, run_id: str) -> None:
        self.ask(TERMINATE, id=run_id)

    def run(self, run_id: str) -> dg.DagsterRun:
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return run

    def finish(self, run_id: str, timeout_seconds: float = PATIENT_SECONDS) -> dg.DagsterRunStatus:
        """Waits for a run's end."""
        deadline = time.monotonic() + timeout_seconds
        while not self.run(run_id).is_finished:
            assert time.monotonic() < deadline, f"run {run_id} is {self.run(run_id).status}:\n" + self.log_text(run_id)
            time.sleep(0.1)
        return self.run(run_id).status

    def wait_for_step(
        self, run_id: str, step: str, kind: str = "STEP_START", timeout_seconds: float = PATIENT_SECONDS
    ) -> None:
        """Waits for something to happen to a step."""
        deadline = time.monotonic() + timeout_seconds
        while not any(event.step_key == step and event.event_type_value == kind for event in self.events(run_id)):
            assert time.monotonic() < deadline, f"{step}: no {kind}:\n" + self.log_text(run_id)
            time.sleep(0.1)

    def events(self, run_id: str) -> list[dg.DagsterEvent]:
        return [entry.dagster_event for entry in self.instance.all_logs(run_id) if entry.dagster_event is not None]

    def log_text(self, run_id: str) -> str:
        """Returns all that a run's log says, with the reasons of what failed."""
        lines = []
        for event in self.events(run_id):
            lines.append(f"{event.event_type_value} {event.step_key or ''}: {event.message}")
            error = getattr(event.event_specific_data, "error", None)
            if error is not None:
                lines.append(error.to_string())
        return "\n".join(lines)

    def pids_of_steps(self, run_id: str) -> list[int]:
        """Lists the processes that were started for steps."""
        started = [event for event in self.events(run_id) if event.event_type_value == "STEP_WORKER_STARTED"]
        return [int(str(event.event_specific_data.metadata["pid"].value)) for event in started]

    def places(self, run_id: str) -> dict[str, dict[str, Any]]:
        """Returns what each asset or check said of where it ran."""
        found = {}
        for event in self.events(run_id):
            data = event.event_specific_data
            materialized = getattr(data, "materialization", None) or (
                data if event.event_type_value == "ASSET_CHECK_EVALUATION" else None
            )
            if materialized is not None:
                found[str(event.step_key)] = {name: value.value for name, value in materialized.metadata.items()}
        return found


@contextmanager
def rig_in(home: Path, text: str, file: str | None = None, module: str = MODULE) -> Iterator[Rig]:
    """Opens an instance with this YAML, and serves the code of a module or of a file."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text(text)
    where = {"attribute": None, "working_directory": None, "location_name": "tests"}
    target = PythonFileTarget(file, **where) if file else ModuleTarget(module, **where)
    with dg.DagsterInstance.from_config(str(home)) as instance, WorkspaceProcessContext(instance, target) as process:
        yield Rig(instance, process)
