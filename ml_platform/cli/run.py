"""Runs a whole pipeline from a terminal, through a real Dagster instance."""

import os
import re
import uuid
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
import psutil
from rich.console import Console
from rich.markup import escape

from ml_platform.artifacts.home import dagster_home
from ml_platform.cli.definitions import project_definitions
from ml_platform.cli.evaluations import last_evaluation, print_evaluation
from ml_platform.cli.monitor import Watcher
from ml_platform.errors import PlatformError, expected_one_of
from ml_platform.project import LOCAL_INSTANCE, find_project

PROCESS_TAG = "ml_platform/process"  # of runs in a process of this command: `RUN_ID PROCESS STARTED`
_PROCESS = re.compile(r"(?P<run>[0-9a-f-]{36}) (?P<pid>\d{1,9}) (?P<started>\d+\.\d+)")
RANGE_TAGS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def run_pipeline(pipeline: str, as_of: str = "latest", *, fresh: bool = False) -> int:
    """Materializes a pipeline with its sources and prints its evaluation.

    Args:
        fresh: whether to compute what would be reused.

    Returns:
        The exit status: 0 if every step succeeded and every gate passed.
    """
    console = Console()
    prepare_home(dagster_home())
    watcher = Watcher(console)
    with dg.DagsterInstance.get() as instance, watcher:
        console.print(f"[bold]{pipeline}[/]: loading definitions")
        job = _find_job(pipeline, watcher)
        fail_abandoned_runs(instance, console)
        # A run in this process has nobody who notices its death: the next command does, by the process's number.
        run_id = str(uuid.uuid4())
        tags = {PROCESS_TAG: _this_process(run_id), **_whole_range(job)}
        steps = len(job.asset_layer.asset_graph.executable_asset_keys)
        watcher.start(steps)
        console.print(f"run {run_id[:8]} in {_short(dagster_home())}: {steps} assets, {_describe(tags)}")
        resources = {"split": {"config": {"as_of": as_of}}, "store": {"config": {"reuse": not fresh}}}
        config = {"loggers": {"terminal": {}}, "resources": resources}
        # In this process, so that what a step prints and raises is seen here and Ctrl-C ends all of it.
        result = job.execute_in_process(
            run_config=config, instance=instance, tags=tags, run_id=run_id, raise_on_error=False
        )
    if f"{pipeline}/evaluation" in watcher.materialized:
        print_evaluation(last_evaluation(pipeline), console)
    if not result.success:
        console.print(f"[red]run {run_id[:8]} failed[/]: {escape(watcher.first_failure)}", soft_wrap=True)
    return 0 if result.success else 1


def prepare_home(home: Path) -> None:
    """Makes the local instance's folder, as `resources/dagster.yaml` configures it."""
    home.mkdir(parents=True, exist_ok=True)
    os.environ["DAGSTER_HOME"] = str(home)
    configuration = home / "dagster.yaml"
    if not configuration.exists():
        configuration.write_text(LOCAL_INSTANCE.read_text())


def fail_abandoned_runs(instance: dg.DagsterInstance, console: Console) -> None:
    """Marks runs of this command whose process is gone as failed; else they would look alive for ever."""
    unfinished = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING])
    for run in instance.get_runs(unfinished):
        process = _process_of(run)
        if process is not None and not _is_alive(*process):
            instance.report_run_failed(run, f"The process {process[0]} that executed this run is gone.")
            console.print(f"run {run.run_id[:8]} was cut off (process {process[0]} is gone); marked as failed")


def _this_process(run_id: str) -> str:
    return f"{run_id} {os.getpid()} {psutil.Process().create_time():.2f}"


def _process_of(run: dg.DagsterRun) -> tuple[int, float] | None:
    """Returns the number and the start of the process that executes a run of this command; None of other runs."""
    match = _PROCESS.fullmatch(run.tags.get(PROCESS_TAG, ""))
    # Dagster copies tags to retries and re-executions, which other processes execute, and anybody may write tags.
    return (int(match["pid"]), float(match["started"])) if match and match["run"] == run.run_id else None


def _is_alive(process_id: int, started: float) -> bool:
    """Returns whether a process of this machine is there, and no later one with its number."""
    try:
        # The kernel counts from its own start, whose time is known to some hundredths of a second.
        return abs(psutil.Process(process_id).create_time() - started) < 1
    except psutil.NoSuchProcess:
        return False


def _find_job(pipeline: str, watcher: Watcher) -> dg.JobDefinition:
    loggers = dg.Definitions(loggers={"terminal": watcher.logger()})
    definitions = dg.Definitions.merge(project_definitions(), loggers)
    jobs = [job.name for job in definitions.jobs or []]
    if pipeline not in jobs:
        known = f"no pipeline {pipeline!r}: {expected_one_of(pipeline, jobs)}"
        defs = find_project().defs
        hint = f"; a YAML elsewhere is tried by `ml-platform try`, and run once it has a folder under {defs}"
        raise PlatformError(known + (hint if pipeline.endswith((".yaml", ".yml")) else ""))
    return definitions.resolve_job_def(pipeline)


def _whole_range(job: dg.JobDefinition) -> dict[str, str]:
    """Asks for all partitions in one run."""
    # The tags that Dagster's own single-run backfills have: its UI and the executor know them.
    if job.partitions_def is None:
        return {}
    keys = job.partitions_def.get_partition_keys()
    return dict(zip(RANGE_TAGS, (keys[0], keys[-1]), strict=True))


def _describe(tags: Mapping[str, str]) -> str:
    return f"partitions {tags[RANGE_TAGS[0]]} to {tags[RANGE_TAGS[1]]}" if RANGE_TAGS[0] in tags else "no partitions"


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
