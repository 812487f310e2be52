"""`ml-platform gc` frees what nothing needs, says what it did, and leaves what a run needs."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from ml_platform.artifacts import ArtifactStore
from ml_platform.artifacts.artifact import Artifact
from ml_platform.cli.main import commands
from ml_platform.cli.retention import seconds_of
from ml_platform.errors import PlatformError
from ml_platform.launchers.leases.schema import ENDED, Work
from ml_platform.launchers.leases.table import Launches
from ml_platform_tests.launchers.rig import instance_yaml, local

DAY = 86_400.0


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ArtifactStore:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "120")
    return ArtifactStore(str(tmp_path / "artifacts"))


@pytest.fixture
def instance(store: ArtifactStore, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster.yaml").write_text(instance_yaml({"cpu": local("cpu")}))
    with dg.DagsterInstance.from_config(str(tmp_path)) as made:
        yield made


def gc(*arguments: str) -> Result:
    return CliRunner().invoke(commands, ["gc", *arguments], catch_exceptions=False)


def made(store: ArtifactStore, text: str) -> Artifact:
    return store.add("a", None, "text", lambda folder: {"length": (folder / "a").write_text(text)})


def age(folder: Path, days: float) -> None:
    then = time.time() - days * DAY
    for path in folder.rglob("*"):
        os.utime(path, (then, then))


def old_and_current(store: ArtifactStore, days: float = 40) -> tuple[Artifact, Artifact]:
    """Stores a value that nothing needs and one that is current, both old."""
    old, current = made(store, "x" * 2_000), made(store, "y")
    store.promote([current])
    age(Path(store.base), days)
    return old, current


def is_there(store: ArtifactStore, artifact: Artifact) -> bool:
    return bool(store._backend.sizes(f"objects/{artifact.digest[:2]}/{artifact.digest}"))


@pytest.mark.usefixtures("instance")
def test_it_says_what_it_frees_and_frees_it_the_second_time_nothing(store: ArtifactStore) -> None:
    old, _ = old_and_current(store)
    told = gc("--dry-run")
    assert "values, with their files" in told.output
    assert "would be freed; nothing was deleted in" in told.output
    assert is_there(store, old)
    before = json.loads(gc("--dry-run", "--json").output)
    done = json.loads(gc("--json").output)
    assert before["dry_run"] is True
    assert done["dry_run"] is False
    assert {**before, "dry_run": False, "since": ""} == {**done, "since": ""}, "what was said is what was done"
    assert done["counts"]["values"] == {"kept": 1, "deleted": 1, "waiting": 0, "freed_bytes": 2_000}
    assert done["freed_bytes"] > 2_000
    assert not is_there(store, old)
    assert store.open(store.require("a")).is_dir()
    assert "0 bytes were freed in" in gc().output


@pytest.mark.usefixtures("instance")
def test_it_keeps_what_was_used_in_the_time_that_is_said(store: ArtifactStore) -> None:
    old, _ = old_and_current(store, days=3)
    gc()
    gc("--keep", "4d")
    assert is_there(store, old)
    gc("--keep", "48h")
    assert not is_there(store, old)


def test_what_was_used_since_a_run_began_that_is_under_way_stays(
    instance: dg.DagsterInstance, store: ArtifactStore
) -> None:
    @dg.job
    def nothing() -> None: ...

    run = instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTED)
    old, _ = old_and_current(store, days=-1)  # used after the run began, seen from two days later
    age(Path(store.base), -0.5)
    later = time.time() + 2 * DAY
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ml_platform.cli.retention.time.time", lambda: later)
        told = gc("--keep", "24h")
        assert f"note: run {run.run_id[:8]} is under way since" in told.output
        assert "what was used since then stays; terminate it if nothing is at it" in told.output
        assert is_there(store, old)
        instance.report_run_failed(run)
        assert "under way" not in gc("--keep", "24h").output
    assert not is_there(store, old)


def test_launches_and_logs_go_with_the_values(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launches = Launches.of(instance)
    for run_id in ("one", "two"):
        launches.release(launches.intend(Work(run_id, run_id, "nightly"), "cpu"), ENDED)
    log = tmp_path / "launchers" / "00000000-0000-0000-0000-000000000000.log"
    log.parent.mkdir()
    log.write_text("said")
    age(tmp_path / "launchers", 40)
    later = time.time() + 40 * DAY
    monkeypatch.setattr("ml_platform.cli.retention.time.time", lambda: later)
    counts = json.loads(gc("--json").output)["counts"]
    assert counts["logs"] == {"kept": 0, "deleted": 1, "waiting": 0, "freed_bytes": 4}
    assert (counts["launches"]["kept"], counts["launches"]["deleted"]) == (1, 1)
    assert not log.exists()
    assert [one.work.run_id for one in launches.all()] == ["two"]


def test_a_store_without_an_instance_is_swept_and_that_is_said(store: ArtifactStore) -> None:
    old, _ = old_and_current(store)
    told = gc()
    assert "note: no Dagster instance in" in told.output
    assert not is_there(store, old)


@pytest.mark.parametrize("text", ["30", "d", "0d", "-1d", "1.5d", "30 days", "10m", ""])
def test_a_time_that_is_none_is_refused(text: str, store: ArtifactStore) -> None:
    with pytest.raises(PlatformError, match=f"--keep {text}: expected a whole number from 1 with h .hours., d .days."):
        seconds_of(text)
    old, _ = old_and_current(store)
    with pytest.raises(PlatformError, match="such as 30d or 12h"):
        gc(f"--keep={text}")
    assert is_there(store, old)
