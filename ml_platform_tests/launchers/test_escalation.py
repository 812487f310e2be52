"""A step that ran out of memory goes on at the next launcher of its escalation; what all its tries cost is kept."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from ml_platform.launchers.leases.schema import OUT_OF_MEMORY
from ml_platform.launchers.leases.table import Launches
from ml_platform_tests import tiers
from ml_platform_tests.launchers.rig import IMMEDIATELY, Rig, event_log, instance_yaml, local, rig_in
from ml_platform_tests.launchers.world import World, world_in


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Two launchers of processes on this machine."""
    home = tmp_path_factory.mktemp("escalation")
    launchers = {"cpu": local("cpu"), "gpu": local("gpu")}
    with rig_in(
        home, instance_yaml(launchers, run_coordinator=IMMEDIATELY, event_log_storage=event_log(home))
    ) as result:
        yield result


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two clusters."""
    with world_in(tmp_path_factory.mktemp("world"), seconds=0.1) as result:
        yield result


def of_step(rig: Rig, run_id: str, step: str) -> list[tuple[str, str | None]]:
    found = Launches.of(rig.instance).of_run(run_id)
    return [(one.launcher, one.outcome) for one in found if one.work.step == step]


ESCALATED = [("cpu", OUT_OF_MEMORY), ("gpu", "ended")]


@pytest.mark.parametrize(
    ("assets", "where"),
    tiers.cases("steps that escalate", [
        (("hungry",), "in the run's own process"),
        (("hungry", "hungry_too"), "in processes beside the run's"),
        (("raw", "clean", "trained", "hungry_after"), "after a step elsewhere"),
    ]),
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_step_that_a_device_has_no_memory_for_climbs(rig: Rig, assets: tuple[str, ...], where: str) -> None:
    run_id = rig.launch(*assets)
    assert rig.finish(run_id) is dg.DagsterRunStatus.SUCCESS, f"{where}: {rig.log_text(run_id)}"
    for step in [one for one in assets if one.startswith("hungry")]:
        assert of_step(rig, run_id, step) == ESCALATED, f"{where}: {rig.log_text(run_id)}"
        spent = rig.places(run_id)[step]
        assert (spent["PLACE"], spent["tries"]) == ("gpu", 2)
        assert spent["cpu_seconds"] >= 0.2, "the try that failed counts"
        assert spent["peak_memory_of_past_tries_bytes"] > 2**20
    assert f"Step {assets[-1]} ran out of memory on launcher cpu" in rig.log_text(run_id)


@pytest.mark.full
def test_a_step_that_has_no_rung_left_fails_as_it_would(rig: Rig) -> None:
    run_id = rig.launch("hungry_everywhere")
    assert rig.finish(run_id) is dg.DagsterRunStatus.FAILURE
    assert "CUDA out of memory" in rig.log_text(run_id)
    assert [launcher for launcher, _ in of_step(rig, run_id, "hungry_everywhere")] == ["gpu", "cpu"]


@pytest.mark.full
def test_a_step_climbs_from_cluster_to_cluster_and_gpu_seconds_are_counted(world: World) -> None:
    run_id = world.launch("counted", "counted_on_gpu", "hungry")
    world.settle(run_id)
    assert world.rig.run(run_id).status is dg.DagsterRunStatus.SUCCESS, world.rig.log_text(run_id)
    assert of_step(world.rig, run_id, "hungry") == ESCALATED
    spent = world.rig.places(run_id)["hungry"]
    (on_gpu,) = [one for one in world.launches.of_run(run_id) if one.work.step == "hungry" and one.launcher == "gpu"]
    assert on_gpu.gpus == 1
    assert 0 < spent["gpu_seconds"] <= on_gpu.gpu_seconds + 0.1
    assert on_gpu.work.assets == ("hungry",)


@pytest.mark.full
def test_a_run_that_needs_no_gpu_leaves_that_cluster_alone(tmp_path: Path) -> None:
    with world_in(tmp_path) as world:
        run_id = world.launch("counted")
        world.settle(run_id)
        for _ in range(3):
            world.reconcile(), world.monitor()
        assert world.rig.run(run_id).status is dg.DagsterRunStatus.SUCCESS
        assert world.cpu.calls
        assert not world.gpu.calls
