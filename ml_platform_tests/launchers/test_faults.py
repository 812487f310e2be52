"""Whatever a cluster answers or does, a run's work is done once, and nothing of it is left."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ml_platform_tests.launchers.cases import Case, cases
from ml_platform_tests.launchers.world import World, world_in
from ml_platform_tests.postgres import Postgres


def storage_of(kind: str, request: pytest.FixtureRequest) -> dict[str, Any] | None:
    """Gives what `dagster.yaml` says of a database of the tests' own."""
    if kind == "sqlite":
        return None
    server: Postgres = request.getfixturevalue("postgres_server")
    name = f"faults_{abs(hash(request.node.nodeid))}"
    server.create_database(name)
    return server.storage_yaml(name)["storage"]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder: Path = tmp_path_factory.mktemp(request.param)
    with world_in(folder, storage_of(request.param, request), seconds=0.5) as world:
        yield world


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_work_is_done_once_whatever_goes_wrong(world: World, case: Case) -> None:
    world.clear()
    run_id = case.play(world)
    problem = case.judge(world.outcome(run_id))
    assert problem is None, f"{problem}\n{world.rig.told(run_id)}"
    assert not [one for one in world.launches.of_run(run_id) if one.is_open]
