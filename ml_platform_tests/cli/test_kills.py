"""kill -9 in the middle of the demo, again and again: nothing torn, nothing half visible, the same figures."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ml_platform.artifacts import ArtifactStore
from ml_platform_tests.repository import project_root


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "DAGSTER_HOME": str(home), "COLUMNS": "120"}


def visible(home: Path) -> dict[str, str]:
    """Reads and verifies everything that readers see; gives label to digest."""
    base = home / "artifacts"
    store = ArtifactStore(str(base))
    found = {}
    for path in sorted((base / "heads").rglob("*.json")):
        asset = str(path.parent.relative_to(base / "heads"))
        partition = None if path.stem == "_whole" else path.stem
        artifact = store.require(asset, partition)
        store.open(artifact)
        found[artifact.label] = artifact.digest
    return found


def figures(home: Path) -> dict[str, object]:
    done = subprocess.run(
        ["ml-platform", "evaluation", "flight_delays", "--json"], env=environment(home), capture_output=True, check=True
    )
    facts = json.loads(done.stdout)
    return {name: facts[name] for name in ("best", "metrics", "rows_train", "rows_test", "gates", "digest")}


def run(home: Path) -> "subprocess.Popen[bytes]":
    command = ["ml-platform", "run", "flight_delays"]
    return subprocess.Popen(command, env=environment(home), cwd=project_root(), stdout=subprocess.PIPE)


def run_to_the_end(home: Path) -> None:
    with run(home) as process:
        output = process.communicate()[0].decode()
    assert process.returncode == 0, output


def kill_after(home: Path, assets: int, seconds: float) -> bool:
    """Kills a run some time after it finished so many assets; says whether it was still going."""
    with run(home) as process:
        assert process.stdout is not None
        done = 0
        for line in process.stdout:
            done += line.decode().startswith("✓")
            if done >= assets:
                break
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
    return process.returncode == -signal.SIGKILL


def kill_and_compare(broken: Path, whole: Path, kills: int) -> None:
    chance = random.Random(kills)
    for number in range(kills):
        assets, seconds = chance.randrange(0, 20), chance.uniform(0, 1.5)
        cut_off = kill_after(broken, assets, seconds)
        seen = visible(broken) if (broken / "artifacts" / "heads").exists() else {}
        told = "killed" if cut_off else "had ended before"
        sys.stdout.write(
            f"{number + 1}: {told}, {seconds:.1f} s after asset {assets}; {len(seen)} artifacts, all whole\n"
        )
        assert cut_off or assets > 17
    run_to_the_end(broken)
    assert visible(broken) == visible(whole)
    assert figures(broken) == figures(whole)
    import dagster as dg

    with dg.DagsterInstance.from_config(str(broken)) as instance:
        statuses = [record.status.value for record in instance.get_runs()]
    assert statuses.count("SUCCESS") >= 1
    assert "STARTED" not in statuses


@pytest.mark.full
def test_a_demo_that_was_killed_twice_ends_as_one_that_was_not(
    tmp_path: Path, real_year: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "broken"))
    kill_and_compare(tmp_path / "broken", real_year / "home", kills=2)


@pytest.mark.soak
def test_a_demo_that_was_killed_ten_times_ends_as_one_that_was_not(
    tmp_path: Path, real_year: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "broken"))
    kill_and_compare(tmp_path / "broken", real_year / "home", kills=10)
