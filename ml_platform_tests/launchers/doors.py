"""Sends tag sets in by every door of the GraphQL API, and collects the jobs that a cluster gets to see for them."""

import asyncio
import json
import logging
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import sqlalchemy as db
from dagster_webserver.app import create_app_from_workspace_process_context
from sqlalchemy.pool import QueuePool

from ml_platform_tests.dagster_internals import (
    InProcessCodeLocationOrigin,
    InProcessWorkspaceLoadTarget,
    LoadableTargetOrigin,
    QueuedRunCoordinatorDaemon,
    SqliteRunStorage,
    WorkspaceProcessContext,
)
from ml_platform_tests.kubernetes import Cluster
from ml_platform_tests.launchers.rig import event_log, instance_yaml, kubernetes
from ml_platform_tests.launchers.tag_cases import TagSet

LOCATION = "ml_platform_tests.launchers.tag_location"
ANSWER = """__typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  ... on RunConfigValidationInvalid { errors { message } }"""
DOORS = {
    "launchRun": ("ExecutionParams!", "executionParams"),
    "launchPipelineExecution": ("ExecutionParams!", "executionParams"),
    "launchPipelineReexecution": ("ExecutionParams!", "executionParams"),
    "launchRunReexecution": ("ReexecutionParams!", "reexecutionParams"),
}
MANY = f"""mutation ($given: [ExecutionParams!]!) {{ launchMultipleRuns(executionParamsList: $given) {{
  ... on LaunchMultipleRunsResult {{ launchMultipleRunsResult {{ {ANSWER} }} }} }} }}"""
BACKFILL = """mutation ($given: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $given) {
  __typename ... on LaunchBackfillSuccess { launchedRunIds } ... on PythonError { message } } }"""
REPOSITORY = {"repositoryLocationName": "tests", "repositoryName": "__repository__"}


class _NoPods:
    """A cluster's controller for tests that look at jobs: nothing executes."""

    def take(self, job: Mapping[str, Any]) -> None: ...

    def end(self) -> None: ...


class KeptRunStorage(SqliteRunStorage):
    """Dagster's own, with one engine: stock SQLite storage builds one for each statement, which is half of a launch."""

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "KeptRunStorage":
        return cls.from_local(inst_data=inst_data, **config_value)

    @cached_property
    def _engine(self) -> db.Engine:
        arguments = {"check_same_thread": False, "timeout": 60}
        engine = db.create_engine(self._conn_string, poolclass=QueuePool, connect_args=arguments)
        db.event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
        return engine

    @contextmanager
    def connect(self) -> Iterator[db.Connection]:
        with self._engine.connect() as connection, connection.begin():
            yield connection

    def has_run_stats_index_cols(self) -> bool:
        return True

    def _get_snapshot(self, snapshot_id: str) -> Any:
        """Reads what never changes once."""
        found = self._snapshots.get(snapshot_id) or super()._get_snapshot(snapshot_id)
        if found is not None:
            self._snapshots[snapshot_id] = found
        return found

    def _has_snapshot_id(self, snapshot_id: str) -> bool:
        return snapshot_id in self._snapshots or super()._has_snapshot_id(snapshot_id)

    @cached_property
    def _snapshots(self) -> dict[str, Any]:
        return {}

    def wipe(self) -> None:
        super().wipe()
        self._snapshots.clear()


class Platform:
    """A webserver, a daemon and a cluster that notes jobs; `is_stock` with nothing of ours between them."""

    def __init__(self, process: WorkspaceProcessContext, cluster: Cluster, home: Path, loop: asyncio.Runner):
        self.instance = process.instance
        self.cluster = cluster
        self._process = process
        self._loop = loop
        app = httpx.ASGITransport(create_app_from_workspace_process_context(process))
        self._client = httpx.AsyncClient(transport=app, base_url="http://webserver")
        self._home = home
        self._daemon = QueuedRunCoordinatorDaemon(interval_seconds=1)
        self._parent = ""

    def ask(self, query: str, given: Any) -> Any:
        sent = self._client.post("/graphql", json={"query": query, "variables": {"given": given}}, timeout=None)
        answer = self._loop.run(sent).json()
        assert "errors" not in answer, answer
        (found,) = answer["data"].values()
        return found

    def launch(self, sets: Iterable[TagSet]) -> dict[int, str]:
        """Sends sets by their doors; gives the runs that were made, by number.

        What is refused for its run configuration is sent again without, so that its tags come in too.
        """
        runs, refused = self._launch(sets)
        again, never = self._launch([_without_config(one) for one in refused])
        assert not never, f"{len(never)} sets come in by no door, such as {never[0]}"
        return runs | again

    def _launch(self, sets: Iterable[TagSet]) -> tuple[dict[int, str], list[TagSet]]:
        sets = list(sets)
        many = [one for one in sets if one.door == "launchMultipleRuns"]
        answers = [(one, self._launch_one(one)) for one in sets if one.door != "launchMultipleRuns"]
        for start in range(0, len(many), 50):
            batch = many[start : start + 50]
            given = [_params(one.job, one) for one in batch]
            answers += zip(batch, self.ask(MANY, given)["launchMultipleRunsResult"], strict=True)
        runs = {one.number: _run_of(answer) for one, answer in answers if _run_of(answer)}
        return runs, [one for one, _ in answers if one.number not in runs]

    def _launch_one(self, one: TagSet) -> Any:
        if one.door == "launchPartitionBackfill":
            selector = {"partitionSetName": f"{one.job}_partition_set", "repositorySelector": REPOSITORY}
            config = {"runConfigData": one.run_config} if one.run_config else {}
            given = {"selector": selector, "partitionNames": ["a"], "forceSynchronousSubmission": True, **config}
            return self.ask(BACKFILL, {**given, "tags": _shown(one.tags)})
        params = _params(one.job, one)
        if one.door == "launchRunReexecution":
            params = {"parentRunId": self.parent(), "strategy": "ALL_STEPS", "extraTags": _shown(one.tags)}
        if one.door == "launchPipelineReexecution":
            params["executionMetadata"] |= {"rootRunId": self.parent(), "parentRunId": self.parent()}
        kind, name = DOORS[one.door]
        return self.ask(f"mutation ($given: {kind}) {{ {one.door}({name}: $given) {{ {ANSWER} }} }}", params)

    def parent(self) -> str:
        """A run that others execute again."""
        if not self._parent:
            self._parent = _run_of(self.ask(MANY, [_params("plain", None)])["launchMultipleRunsResult"][0])
        return self._parent

    def jobs(self) -> dict[str, dict[str, Any]]:
        """Has the daemon launch all that is queued; gives what the cluster was sent, by run."""
        list(self._daemon.run_iteration(self._process))
        return {job["metadata"]["labels"]["dagster/run-id"]: job for job in self.cluster.jobs.values()}

    def logs(self, containing: str) -> dict[str, str]:
        """Returns what runs' logs say with these words in it, by run."""
        with closing(sqlite3.connect(self._home / "storage" / "event_log.db")) as connection:
            rows = connection.execute(
                "SELECT run_id, event FROM event_logs WHERE instr(event, ?)", [containing]
            ).fetchall()
        return {run_id: str(json.loads(event)["dagster_event"]["message"]) for run_id, event in rows}

    def plain(self, job: str) -> dict[str, Any]:
        """Returns the job of a run that asks for nothing."""
        run_id = _run_of(self.ask(MANY, [_params(job, None)])["launchMultipleRunsResult"][0])
        return self.jobs()[run_id]

    def forget(self) -> None:
        """Forgets all runs: a daemon looks at all that are under way."""
        self.instance.run_storage.wipe()
        self.instance.event_log_storage.wipe()
        self.cluster.jobs.clear()
        self._parent = ""


def _without_config(one: TagSet) -> TagSet:
    return replace(one, run_config={})


def _params(job: str, one: TagSet | None) -> dict[str, Any]:
    tags, config = (one.tags, one.run_config) if one is not None else ((), {})
    selector = {**REPOSITORY, "pipelineName": job}
    return {"selector": selector, "runConfigData": config, "executionMetadata": {"tags": _shown(tags)}}


def _shown(tags: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags]


def _run_of(answer: Mapping[str, Any]) -> str:
    """Returns the run that was made; empty if none was."""
    launched = answer.get("launchedRunIds") or [None]
    return str(answer.get("run", {}).get("runId") or launched[0] or "")


@contextmanager
def platform_in(home: Path, *, is_stock: bool = False) -> Iterator[Platform]:
    """Opens a platform with one Kubernetes launcher."""
    home.mkdir(parents=True, exist_ok=True)
    logging.getLogger("dagster").setLevel(logging.ERROR)
    with Cluster("cpu", ["ml-cpu"]) as cluster:
        cluster.controller = _NoPods()  # type: ignore[assignment]
        launcher = kubernetes(
            job_namespace="ml-cpu", job_image="ml_platform:cpu", dagster_home=str(home),
            kubeconfig_file=str(cluster.write_kubeconfig(home / "kubeconfig")),
            resources={"limits": {"cpu": "2", "memory": "4Gi"}}, env_vars=["PLACE=cpu"],
        )  # fmt: skip
        queue = {
            "module": "dagster._core.run_coordinator" if is_stock else "ml_platform.launchers",
            "class": "QueuedRunCoordinator" if is_stock else "RoutingRunCoordinator",
            "config": {"max_concurrent_runs": -1, "dequeue_num_workers": 1},
        }
        storage = {"module": __name__, "class": "KeptRunStorage", "config": {"base_dir": str(home / "storage")}}
        text = instance_yaml(
            {"cpu": launcher}, stock=launcher if is_stock else None, run_coordinator=queue, run_storage=storage,
            event_log_storage=event_log(home),
        )  # fmt: skip
        (home / "dagster.yaml").write_text(text)
        target = LoadableTargetOrigin(module_name=LOCATION, attribute="stock" if is_stock else "routed")
        origin = InProcessCodeLocationOrigin(loadable_target_origin=target, location_name="tests")
        with (
            dg.DagsterInstance.from_config(str(home)) as instance,
            WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget(origin)) as process,
            asyncio.Runner() as loop,
        ):
            yield Platform(process, cluster, home, loop)
