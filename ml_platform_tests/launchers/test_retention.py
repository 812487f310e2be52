"""Launches and logs go when their work is over for long; what is under way, and what escalation counts, stays."""

import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import update

from ml_platform.launchers.leases.schema import ENDED, LAUNCHES, C, Work
from ml_platform.launchers.leases.table import Launches
from ml_platform.launchers.retention import Unfinished, remove_launches, remove_logs, unfinished_in
from ml_platform_tests.launchers.rig import instance_yaml, local
from ml_platform_tests.postgres import Postgres

DAY = 86_400.0
NOW = time.time()


@pytest.fixture(params=["sqlite", "postgres"])
def launches(request: pytest.FixtureRequest, tmp_path: Path) -> Launches:
    if request.param == "sqlite":
        return Launches(f"sqlite:///{tmp_path / 'runs.db'}")
    server: Postgres = request.getfixturevalue("postgres_server")
    server.create_database(name := f"retention_{uuid.uuid4().hex}")
    return Launches(server.url(name))


def launched(
    launches: Launches, run_id: str, days: float, root: str = "", launcher: str = "cpu", step: str = ""
) -> str:
    """Notes work that was over so many days ago."""
    work = replace(Work(run_id, root or run_id, "nightly"), step=step)
    launch = launches.intend(work, launcher)
    launches.release(launch, ENDED)
    then = NOW - days * DAY
    launches.write(update(LAUNCHES).where(C.id == launch.id).values(intended=then, released=then))
    return launch.id


def left(launches: Launches) -> set[str]:
    return {launch.work.run_id for launch in launches.all()}


def test_old_launches_go_and_the_newest_of_each_launcher_stays(launches: Launches) -> None:
    for run_id, days, launcher in [
        ("a", 90, "cpu"),
        ("b", 60, "cpu"),
        ("c", 10, "cpu"),
        ("d", 80, "gpu"),
        ("e", 70, "gpu"),
    ]:
        launched(launches, run_id, days, launcher=launcher)
    removed = remove_launches(launches, NOW - 30 * DAY, [], is_dry=True)
    assert (removed.kept, removed.deleted, left(launches)) == (2, 3, {"a", "b", "c", "d", "e"})
    assert remove_launches(launches, NOW - 30 * DAY, []) == removed
    assert left(launches) == {"c", "e"}
    assert launches.has_been_at("gpu"), "else nobody would look for its orphans"


def test_what_escalation_counts_stays_with_the_youngest_try(launches: Launches) -> None:
    launched(launches, "first", 90, step="train")
    launched(launches, "again", 10, root="first", step="train")
    launched(launches, "other", 5)
    remove_launches(launches, NOW - 30 * DAY, [])
    assert left(launches) == {"first", "again", "other"}


def test_launches_of_what_is_open_or_under_way_stay(launches: Launches) -> None:
    launched(launches, "under-way", 90)
    launched(launches, "waits-again", 90)
    launched(launches, "old", 90)
    launches.intend(Work("open", "open", "nightly"), "cpu")
    launched(launches, "newest", 0)
    unfinished = [Unfinished("under-way", "under-way", NOW), Unfinished("third", "waits-again", None)]
    remove_launches(launches, NOW - 30 * DAY, unfinished)
    assert left(launches) == {"under-way", "waits-again", "open", "newest"}


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster.yaml").write_text(instance_yaml({"cpu": local("cpu")}))
    with dg.DagsterInstance.from_config(str(tmp_path)) as result:
        yield result


@dg.job
def nothing() -> None: ...


def test_runs_that_are_not_over_are_listed_with_when_they_began(instance: dg.DagsterInstance) -> None:
    queued = instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.NOT_STARTED)
    started = instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTED)
    instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.SUCCESS)
    found = {one.run_id: one.began for one in unfinished_in(instance)}
    assert found.keys() == {queued.run_id, started.run_id}
    assert found[queued.run_id] is None, "it used nothing yet"
    assert abs((found[started.run_id] or 0) - time.time()) < 60


def test_logs_of_runs_that_are_over_go_and_what_is_no_log_stays(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    folder = tmp_path / "launchers"
    folder.mkdir()
    ids = {
        name: f"{number:08d}-0000-0000-0000-000000000000" for number, name in enumerate(["old", "young", "going on"])
    }
    for name in (*(f"{one}.log" for one in ids.values()), "notes.txt"):
        (folder / name).write_text("said")
        os.utime(folder / name, (NOW - 40 * DAY, NOW - 40 * DAY))
    (folder / f"{ids['young']}.log").touch()
    unfinished = [Unfinished(ids["going on"], ids["going on"], NOW - 50 * DAY)]
    removed = remove_logs(instance, NOW - 30 * DAY, unfinished, is_dry=True)
    assert (removed.kept, removed.deleted, removed.freed_bytes) == (3, 1, 4)
    assert remove_logs(instance, NOW - 30 * DAY, unfinished) == removed
    assert not (folder / f"{ids['old']}.log").exists()
    assert len(list(folder.iterdir())) == 3
