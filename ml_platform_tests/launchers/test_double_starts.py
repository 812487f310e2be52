"""A run that two launch at the same moment is executed once."""

from pathlib import Path

import dagster as dg
import pytest

from ml_platform_tests import tiers
from ml_platform_tests.crashes import FOLDER
from ml_platform_tests.launchers.case_run import databases, double_starts, start_twice
from ml_platform_tests.launchers.rig import IMMEDIATELY, instance_yaml, local, rig_in
from ml_platform_tests.postgres import Postgres

RUNS = 5  # of processes, on each database


@pytest.mark.parametrize("runs", tiers.counts("runs that are launched twice at a time"))
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_a_run_launched_twice_at_a_time_is_one_pods(
    database: str, runs: int, tmp_path: Path, postgres_server: Postgres
) -> None:
    storage = databases(postgres_server, f"twice_{runs}", 1)[0] if database == "postgres" else None
    (played,) = double_starts(tmp_path, storage, runs).values()
    assert {str(one.outcome) for one in played} == {"success"}
    assert {(one.outcome.began, one.outcome.ended) for one in played if one.outcome} == {(1, 1)}
    assert not any("duplicate" in one.log for one in played)


@pytest.mark.full
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
        for number in range(RUNS):
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
