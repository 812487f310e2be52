"""A run that two launch at the same moment is executed once."""

import multiprocessing
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent, DagsterEventType

from ml_platform_tests.launchers.crashing import in_child, launch_in_child
from ml_platform_tests.launchers.location import FOLDER
from ml_platform_tests.launchers.playing import databases
from ml_platform_tests.launchers.rig import IMMEDIATELY, instance_yaml, local, rig_in
from ml_platform_tests.launchers.world import World, world_in
from ml_platform_tests.postgres import Postgres

RUNS = {"kubernetes": 20, "local": 5}  # on each database


def queued(world: World, count: int) -> list[str]:
    """Makes runs that are starting, and that nobody starts."""
    run_ids = [world.launch("counted") for _ in range(count)]
    for run_id in run_ids:
        event = DagsterEvent(DagsterEventType.PIPELINE_STARTING.value, world.rig.run(run_id).job_name)
        world.rig.instance.report_dagster_event(event, run_id=run_id)
    return run_ids


def start_twice(home: Path, run_ids: list[str]) -> None:
    barrier = multiprocessing.get_context("forkserver").Barrier(2)
    both = [in_child(launch_in_child, str(home), run_ids, barrier) for _ in range(2)]
    for process in both:
        process.join(120)
        assert process.exitcode == 0


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_a_run_launched_twice_at_a_time_is_one_pods(database: str, tmp_path: Path, postgres_server: Postgres) -> None:
    storage = databases(postgres_server, "twice", 1)[0] if database == "postgres" else None
    with world_in(tmp_path, storage, seconds=0.2) as world:
        run_ids = queued(world, RUNS["kubernetes"])
        start_twice(tmp_path / "home", run_ids)
        world.settle(*run_ids, timeout_seconds=120)
        assert {str(world.outcome(run_id)) for run_id in run_ids} == {"success"}
        assert {(world.outcome(one).began, world.outcome(one).ended) for one in run_ids} == {(1, 1)}
        for run_id in run_ids:
            assert not [event for event in world.rig.events(run_id) if "duplicate" in str(event.message)]


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_a_run_launched_twice_at_a_time_is_one_process(
    database: str, tmp_path: Path, postgres_server: Postgres
) -> None:
    more = {"run_coordinator": IMMEDIATELY}
    if database == "postgres":
        more["storage"] = databases(postgres_server, "twice_here", 1)[0] or {}
    env = {FOLDER: str(tmp_path), "ML_PLATFORM_TEST_SECONDS": "0.2"}
    text = instance_yaml({"cpu": local("cpu", env=env)}, **more)
    with rig_in(tmp_path / "home", text) as rig:
        like = rig.run(rig.launch("counted"))
        run_ids = []
        for number in range(RUNS["local"]):
            run = like._replace(
                run_id=f"00000000-0000-0000-0000-{number:012}", status=dg.DagsterRunStatus.STARTING, tags={}
            )
            run_ids.append(rig.instance.add_run(run).run_id)
        start_twice(tmp_path / "home", run_ids)
        assert {rig.finish(run_id) for run_id in run_ids} == {dg.DagsterRunStatus.SUCCESS}
        marks = (tmp_path / "counted").read_text().splitlines()
        for run_id in run_ids:
            assert [line.split()[2] for line in marks if line.startswith(run_id)] == ["began", "ended"]
            # Both started a process; the one that lost wrote nothing.
            started = [event for event in rig.events(run_id) if "Started process for run" in str(event.message)]
            assert len(started) == 1
