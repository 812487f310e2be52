"""Whoever is killed, at whatever step of the protocol: a run's work is done once, and nothing of it is left."""

from pathlib import Path

import pytest

from ml_platform_tests.launchers.cases import Case
from ml_platform_tests.launchers.crashing import KILLED, NOTED, order
from ml_platform_tests.launchers.kill_cases import EFFECTS, kill_cases, whole_platform_cases
from ml_platform_tests.launchers.playing import Played, play_all, play_on_both
from ml_platform_tests.launchers.world import world_in
from ml_platform_tests.postgres import Postgres

CASES = [*kill_cases(), *whole_platform_cases()]


@pytest.fixture(scope="module")
def played(postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Played]:
    return play_on_both(CASES, tmp_path_factory.mktemp("kills"), postgres_server, "kills")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_work_is_done_once_whoever_is_killed(played: dict[str, Played], case: Case) -> None:
    found = played[case.name]
    assert found.problem is None, f"{found.problem}\n{found.told}"
    assert not found.open, f"launches are open: {found.open}"


def test_the_platform_was_killed_often_enough() -> None:
    assert len(whole_platform_cases()) >= 20


def test_a_step_is_tried_again_whose_process_died_before_it_closed_its_launch(tmp_path: Path) -> None:
    """It had written that it is to be tried again, and nobody would have looked for it any more."""
    with world_in(tmp_path, seconds=0.1) as world:
        order(tmp_path, "execute_step", EFFECTS["the step's process"] - 1)
        run_id = world.launch("counted", "fails_once")
        world.settle(run_id, timeout_seconds=60)
        assert KILLED in (tmp_path / NOTED).read_text()
        assert world.outcome(run_id).status == "SUCCESS", world.rig.told(run_id)
        tries = [one for one in world.launches.of_run(run_id) if one.work.step == "fails_once"]
        assert [one.is_open for one in tries] == [False, False]


@pytest.mark.soak
def test_every_case_on_sqlite(tmp_path: Path) -> None:
    """The other half of them."""
    played = play_all(CASES[1::2], tmp_path, [None] * 2)
    assert not {name: one.problem for name, one in played.items() if one.problem or one.open}
