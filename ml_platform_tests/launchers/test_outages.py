"""Whenever the database is cut off and comes back, a run's work is done once, and nothing of it is left."""

import pytest

from ml_platform_tests import tiers
from ml_platform_tests.launchers.case_run import Played, play_with_outages
from ml_platform_tests.launchers.cases import Case
from ml_platform_tests.launchers.outage_cases import outage_cases
from ml_platform_tests.postgres import Postgres

CASES = outage_cases()


@pytest.fixture(scope="module")
def played(
    request: pytest.FixtureRequest, postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Played]:
    """What became of the cases that were chosen: they are played two at a time."""
    return play_with_outages(tiers.chosen(request, "case"), tmp_path_factory.mktemp("outages"))


@pytest.mark.parametrize(
    "case", tiers.cases("outages", CASES, lambda case: case.kind, lambda case: case.is_telling),
    ids=lambda case: case.name,
)  # fmt: skip
def test_work_is_done_once_whenever_the_database_is_away(played: dict[str, Played], case: Case) -> None:
    found = played[case.name]
    assert found.problem is None, f"{found.problem}\n{found.log}"
    assert not found.open, f"launches are open: {found.open}"
