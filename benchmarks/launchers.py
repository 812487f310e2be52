"""Measures what routing costs: steps, launches and a thousand queued runs, beside Dagster's own ways, in one run."""

import tempfile
import time
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from launcher_jobs import STEPS, WAYS

from ml_platform.compat.dagster import ConfigurableClass, LaunchRunContext, RunLauncher
from ml_platform_tests.dagster_internals import QueuedRunCoordinatorDaemon, make_new_run_id
from ml_platform_tests.launchers.rig import IMMEDIATELY, Rig, instance_yaml, local, rig_in
from ml_platform_tests.launchers.world import world_in

JOBS = str(Path(__file__).with_name("launcher_jobs.py"))
ROUNDS = 3
QUEUED = 1_000
STOCK = {"module": "dagster", "class": "DefaultRunLauncher"}


class NoLauncher(RunLauncher[Any], ConfigurableClass):
    """Starts nothing: what is left is the price of deciding and writing down."""

    inst_data = None

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "NoLauncher":
        return cls()

    def launch_run(self, context: LaunchRunContext) -> None: ...

    def terminate(self, run_id: str) -> bool:
        return False


def seconds_of(rig: Rig, job: str) -> tuple[float, float]:
    """Returns how long a run took to start executing, and how long a step took."""
    run_id = rig.launch(job=job)
    assert rig.finish(run_id, 120) is dg.DagsterRunStatus.SUCCESS, rig.log_text(run_id)
    at = {
        entry.dagster_event.event_type_value: entry.timestamp
        for entry in rig.instance.all_logs(run_id)
        if entry.dagster_event
    }
    return at["PIPELINE_START"] - at["PIPELINE_STARTING"], (at["PIPELINE_SUCCESS"] - at["PIPELINE_START"]) / STEPS


def steps_and_launches(folder: Path) -> None:
    routed = instance_yaml({"cpu": local("cpu"), "gpu": local("gpu")}, run_coordinator=IMMEDIATELY)
    per_step: dict[str, list[float]] = {name: [] for name in WAYS}
    launch: dict[str, list[float]] = {"stock": [], "routed": []}
    stock = stock_yaml(run_launcher=STOCK, run_coordinator=IMMEDIATELY)
    with rig_in(folder / "routed", routed, JOBS) as ours, rig_in(folder / "stock", stock, JOBS) as theirs:
        for _ in range(ROUNDS):
            for name, job in WAYS.items():
                per_step[name].append(seconds_of(ours, job.name)[1])
            launch["routed"].append(seconds_of(ours, "in_process")[0])
            launch["stock"].append(seconds_of(theirs, "in_process")[0])
    base = min(per_step["a process each (stock multiprocess)"])
    print(f"| {STEPS} empty steps, one after the other | seconds a step | ratio to stock multiprocess |\n|---|---|---|")
    for name, took in per_step.items():
        print(f"| {name} | {min(took):.3f} | {min(took) / base:.2f} |")
    print("\n| from launching to executing | seconds | ratio |\n|---|---|---|")
    for name, took in launch.items():
        print(f"| {name} | {min(took):.2f} | {min(took) / min(launch['stock']):.2f} |")


def stock_yaml(**config: Any) -> str:
    return yaml.safe_dump({**config, "telemetry": {"enabled": False}})


def drained(folder: Path, text: str) -> float:
    """Returns how long the daemon's queue takes over a thousand runs whose launcher starts nothing."""
    with rig_in(folder, text, JOBS) as rig:
        queued = rig.run(rig.launch(job="mixed"))
        for _ in range(QUEUED - 1):
            rig.instance.run_storage.add_run(queued._replace(run_id=make_new_run_id()))
        daemon = QueuedRunCoordinatorDaemon(interval_seconds=1)
        started = time.perf_counter()
        while rig.instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])):
            for _ in daemon.run_iteration(rig.process):
                pass
        return time.perf_counter() - started


def queue(folder: Path) -> None:
    nothing = {"module": Path(__file__).stem, "class": "NoLauncher"}
    coordinator = {
        "module": "dagster.core.run_coordinator",
        "class": "QueuedRunCoordinator",
        "config": {"max_concurrent_runs": -1},
    }
    stock = drained(folder / "queue", stock_yaml(run_launcher=nothing, run_coordinator=coordinator))
    ours = instance_yaml({"cpu": nothing, "gpu": local("gpu")}, run_coordinator=coordinator)
    routed = drained(folder / "routed queue", ours)
    print(f"\n| {QUEUED:,} queued mixed runs, a launcher that starts nothing | seconds | ratio |\n|---|---|---|")
    print(f"| stock | {stock:.1f} | 1 |\n| routed | {routed:.1f} | {routed / stock:.2f} |")


def clusters(folder: Path) -> None:
    """Compares a run on a stand-in for a cluster: with the launch table, and Dagster's own launcher without one."""
    seconds: dict[str, list[float]] = {"stock": [], "with the launch table": []}
    counts: dict[str, int] = {}
    with (
        world_in(folder / "stock", is_stock=True, is_warm=False) as stock,
        world_in(folder / "ours", is_warm=False) as ours,
    ):
        for _ in range(ROUNDS):
            for name, world in (("stock", stock), ("with the launch table", ours)):
                run_id = world.launch("counted")
                world.settle(run_id, timeout_seconds=60)
                entries = [one for one in world.rig.instance.all_logs(run_id) if one.dagster_event]
                at = {str(one.dagster_event and one.dagster_event.event_type_value): one.timestamp for one in entries}
                seconds[name].append(at["PIPELINE_START"] - at["PIPELINE_STARTING"])
                counts[name] = len(entries)
    print("\n| a run of one asset on a cluster | seconds from launching to executing | ratio | events |")
    print("|---|---|---|---|")
    for name, took in seconds.items():
        ratio = min(took) / min(seconds["stock"])
        print(f"| {name} | {min(took):.2f} | {ratio:.2f} | {counts[name]} |")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        steps_and_launches(Path(folder))
        clusters(Path(folder))
        queue(Path(folder))


if __name__ == "__main__":
    main()
