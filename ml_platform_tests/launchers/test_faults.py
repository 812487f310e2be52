"""Whatever a cluster answers or does, a run's work is done once, and nothing of it is left."""

import pytest

from ml_platform_tests import tiers
from ml_platform_tests.launchers.case_run import On, Played, on_both, play_on_both
from ml_platform_tests.launchers.cases import cases
from ml_platform_tests.postgres import Postgres

CASES = cases()


@pytest.fixture(scope="module")
def played(
    request: pytest.FixtureRequest, postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> dict[On, Played]:
    """What became of the cases that were chosen: they are played several at a time."""
    return play_on_both(tiers.chosen(request, "on"), tmp_path_factory.mktemp("faults"), postgres_server, "faults")


@pytest.mark.parametrize("on", on_both("faults", CASES), ids=str)
def test_work_is_done_once_whatever_goes_wrong(played: dict[On, Played], on: On) -> None:
    found = played[on]
    assert found.problem is None, f"{found.problem}\n{found.log}"
    assert not found.open, f"launches are open: {found.open}"
