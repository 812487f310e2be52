"""Whoever is killed, at whatever step of the protocol: a run's work is done once, and nothing of it is left."""

from pathlib import Path

import pytest

from ml_platform_tests import tiers
from ml_platform_tests.crashes import KILLED, NOTED, order
from ml_platform_tests.launchers.case_run import On, Played, on_both, play_on_both
from ml_platform_tests.launchers.kill_cases import EFFECTS, kill_cases, whole_platform_cases
from ml_platform_tests.launchers.world import world_in
from ml_platform_tests.postgres import Postgres

CASES = [*kill_cases(), *whole_platform_cases()]


@pytest.fixture(scope="module")
def played(
    request: pytest.FixtureRequest, postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> dict[On, Played]:
    """What became of the cases that were chosen: they are played several at a time."""
    return play_on_both(tiers.chosen(request, "on"), tmp_path_factory.mktemp("kills"), postgres_server, "kills")


@pytest.mark.parametrize("on", on_both("kills", CASES), ids=str)
def test_work_is_done_once_whoever_is_killed(played: dict[On, Played], on: On) -> None:
    found = played[on]
    assert found.problem is None, f"{found.problem}\n{found.log}"
    assert not found.open, f"launches are open: {found.open}"


def test_the_platform_was_killed_often_enough() -> None:
    assert len(whole_platform_cases()) >= 20


@pytest.mark.full
def test_a_step_is_tried_again_whose_process_died_before_it_closed_its_launch(tmp_path: Path) -> None:
    """It had written that it is to be tried again, and nobody would have looked for it any more."""
    with world_in(tmp_path, seconds=0.1) as world:
        order(tmp_path, "execute_step", EFFECTS["the step's process"] - 1)
        run_id = world.launch("counted", "fails_once")
        world.settle(run_id)
        assert KILLED in (tmp_path / NOTED).read_text()
        assert world.outcome(run_id).status == "SUCCESS", world.rig.log_text(run_id)
        tries = [one for one in world.launches.of_run(run_id) if one.work.step == "fails_once"]
        assert [one.is_open for one in tries] == [False, False]
