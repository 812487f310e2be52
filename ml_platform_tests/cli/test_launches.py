"""`ml-platform launches` says what was launched and what it cost; `migrate` and `reconcile` look after it."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import create_engine, text

from ml_platform.cli.main import commands
from ml_platform.errors import LaunchError
from ml_platform.launchers.leases.schema import ENDED, OUT_OF_MEMORY, Holder, Work
from ml_platform.launchers.leases.table import Launches
from ml_platform.launchers.routes import Route
from ml_platform_tests.launchers.rig import instance_yaml, local

WORK = Work("run-1", "run-1", "nightly")


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    queue = {"module": "ml_platform.launchers", "class": "RoutingRunCoordinator"}
    (tmp_path / "dagster.yaml").write_text(instance_yaml({"cpu": local("cpu")}, run_coordinator=queue))
    with dg.DagsterInstance.from_config(str(tmp_path)) as result:
        yield result


def said(*arguments: str) -> Result:
    return CliRunner().invoke(commands, ["launches", *arguments], catch_exceptions=False)


def tried(launches: Launches, outcome: str, cpu_seconds: float, peak_bytes: int, *, gpus: float = 0.0) -> None:
    """Notes one try of a step, of two assets."""
    work = replace(WORK, step="train", assets=("model", "report"))
    launch, holder = launches.intend(work, "cpu", gpus=gpus), Holder()
    launches.acquire(launch.lease_id, holder)
    measured = {"cpu_seconds": cpu_seconds, "peak_bytes": peak_bytes}
    launches.release(launch, outcome, "why", secret=holder.secret, measured=measured)


def test_without_an_instance_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with pytest.raises(LaunchError, match="no Dagster instance there yet; `ml-platform run PIPELINE` makes one"):
        said()


def test_an_instance_without_our_launchers_is_told_so(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with pytest.raises(LaunchError, match="run_launcher is DefaultRunLauncher, which keeps no launches; set Routing"):
        said("reconcile")


@pytest.mark.usefixtures("instance")
def test_before_anything_was_launched_it_says_so() -> None:
    assert said().output.strip() == "Nothing was launched yet."
    assert json.loads(said("--json").output) == {"launches": [], "assets": {}}


def test_assets_cost_what_all_their_tries_did(instance: dg.DagsterInstance) -> None:
    launches = Launches.of(instance)
    launches.intend(WORK, "cpu", Route("cpu", {}))
    tried(launches, OUT_OF_MEMORY, 3.0, 2**30, gpus=2.0)
    tried(launches, ENDED, 5.0, 2**20)
    found = json.loads(said("--json").output)
    assert [(one["step"], one["outcome"]) for one in found["launches"]] == [
        ("", None), ("train", OUT_OF_MEMORY), ("train", ENDED),
    ]  # fmt: skip
    assert all("secret" not in one for one in found["launches"]), "who knows it could release the launch"
    assert {asset: (one["tries"], one["cpu_seconds"], one["peak_bytes"]) for asset, one in found["assets"].items()} == {
        "model": (2, 4.0, 2**30), "report": (2, 4.0, 2**30),
    }  # fmt: skip
    gpu_seconds = sum(one["gpu_seconds"] for one in found["launches"])
    assert gpu_seconds > 0
    assert sum(one["gpu_seconds"] for one in found["assets"].values()) == pytest.approx(gpu_seconds)
    printed = said("--run", "run-1").output
    assert "nightly (run run-1" in printed
    assert "intended" in printed
    assert "out of memory" in printed
    assert "1.0 GiB" in printed
    assert said("--run", "run-2").output.strip() == "Nothing was launched yet."
    assert len(json.loads(said("--limit", "1", "--json").output)["launches"]) == 1


def test_the_table_is_made_once_and_one_of_another_version_is_left_to_people(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    assert "brought up to date" in said("migrate").output
    assert "is up to date" in said("migrate").output
    engine = create_engine(instance.run_storage._conn_string)  # type: ignore[attr-defined]
    with engine.begin() as connection:
        connection.execute(text("UPDATE ml_platform_launches_version SET version_num = '9999'"))
    fresh = Launches(instance.run_storage._conn_string)  # type: ignore[attr-defined]
    with pytest.raises(
        LaunchError, match="is at revision 9999, this version needs 0002; run: ml-platform launches migr"
    ):
        fresh.all()
    with pytest.raises(LaunchError, match="revision 9999"):
        fresh.migrate()


@pytest.mark.usefixtures("instance")
def test_the_reconciler_says_what_it_did_and_what_it_could_not(
    monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance
) -> None:
    done = said("reconcile")
    assert done.exit_code == 0
    assert "launches: 0 open, 0 closed, 0 queued again, 0 jobs removed" in done.output
    monkeypatch.setattr(Launches, "open", lambda _: 1 / 0)
    done = said("reconcile")
    assert done.exit_code == 1
    assert "launches: ZeroDivisionError" in done.output


@pytest.mark.usefixtures("instance")
def test_a_file_tells_that_the_reconciler_goes_on_unless_nobody_looks_for_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive = tmp_path / "alive"
    assert said("reconcile", "--alive", str(alive)).exit_code == 0
    alive.unlink()  # had it not been there, this had failed
    monkeypatch.setattr("ml_platform.cli.launches._SILENT_SECONDS", -1.0)
    said("reconcile", "--alive", str(alive))
    assert not alive.exists()
