"""A notebook and Dagster write the same step at once and are killed at random: no torn value, equal cache keys.

A server forks the writers, so that a try costs what the work costs and not the imports.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from ml_platform.artifacts import ArtifactStore
from ml_platform.artifacts.artifact import Artifact
from ml_platform_tests.platform import Platform

ASSET = "flight_delays/calendar"

# Reads one JSON line for a writer: which runtime, which parts; forks it and answers with its process id.
SERVER = """
import json, os, sys
import duckdb, pandas, pyarrow.parquet, sklearn.base, threadpoolctl, dagster as dg
from pathlib import Path
from ml_platform import Pipeline
from ml_platform.artifacts import ArtifactStore
from ml_platform.components.ml_pipeline import pipeline_definitions
from ml_platform_tests.platform import resources
from ml_platform.components.sources import source_assets
from ml_platform_tests import lake
import ml_platform.transformers, ml_platform.pipeline.inspector, ml_platform.runtime.estimator

folder = Path(sys.argv[1])
loaded = Pipeline.load(folder / "pipeline.yaml", store=ArtifactStore(str(folder / "artifacts")), verbose=False)

def write_in_a_notebook(pipeline):
    pipeline.upto("calendar").fit_transform(pipeline.sources())

def write_in_dagster(pipeline):
    definitions = dg.Definitions.merge(pipeline_definitions(pipeline.compiled), dg.Definitions(assets=source_assets(lake.TABLES), resources=resources(folder / "artifacts"), executor=dg.in_process_executor))
    with dg.DagsterInstance.ephemeral() as instance:
        keys = pipeline.compiled.features.spans.keys
        tags = {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]}
        job = definitions.resolve_job_def("flight_delays")
        assert job.execute_in_process(instance=instance, tags=tags, asset_selection=[dg.AssetKey(["flight_delays", "calendar"])]).success

for line in sys.stdin:
    asked = json.loads(line)
    if "reap" in asked:
        print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in asked["reap"]]), flush=True)
        continue
    child = os.fork()
    if child == 0:
        try:
            pipeline = loaded.set_params(calendar__parts=asked["parts"])
            (write_in_dagster if asked["dagster"] else write_in_a_notebook)(pipeline)
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    print(child, flush=True)
"""


class Writers:
    """Forks writers of the calendar step."""

    def __init__(self, folder: Path):
        command = [sys.executable, "-W", "ignore", "-c", SERVER, str(folder)]
        self._log = (folder / "writers.log").open("w+")
        self._server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
        )

    def _ask(self, **question: object) -> Any:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(question) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())

    def start(self, parts: Sequence[str], *, dagster: bool) -> int:
        """Forks a writer; gives its process id."""
        return int(self._ask(parts=parts, dagster=dagster))

    def end(self, processes: Sequence[int]) -> list[int]:
        """Waits for writers; gives their exit statuses."""
        statuses = list(self._ask(reap=processes))
        self._log.seek(0)
        assert set(statuses) <= {0, -signal.SIGKILL}, self._log.read()
        return statuses

    def close(self) -> None:
        self._server.communicate(timeout=30)
        self._log.close()


def whole(store: ArtifactStore) -> dict[str, str]:
    """Reads every cache key and head, verifying each file; gives cache key to digest."""
    found = {}
    for path in sorted(Path(store.base).glob("addresses/*/*.json")):
        artifact = Artifact.from_bytes(path.read_bytes(), str(path))
        store.open(artifact)  # verifies each digest once
        found[path.stem] = artifact.digest
    for path in Path(store.base).glob("heads/flight_delays/calendar/*.json"):
        ArtifactStore(store.base).open(Artifact.from_bytes(path.read_bytes(), str(path)))
    return found


def wait_for(store: ArtifactStore, cache_keys: int, more_seconds: float) -> None:
    """Waits until so many values were written (where there are as many already, not at all), then a moment more."""
    deadline = time.monotonic() + 20
    while len(list(Path(store.base).glob("addresses/*/*.json"))) < cache_keys and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(more_seconds)


def kill_writers(folder: Path, tries: int) -> tuple[int, int]:
    """Kills pairs of writers; gives how many were cut off, and how many of those had written something."""
    platform = Platform(folder)
    before = [
        "lake/flights",
        "lake/weather",
        "lake/planes",
        "lake/airports",
        *(f"flight_delays/{name}" for name in ("departures", "traffic", "route", "aircraft")),
    ]
    assert platform.run(*before).success
    writers, chance = Writers(folder), random.Random(tries)
    names = ["minute_of_day", "hour_of_day", "day_of_week", "day_of_month", "day_of_year", "month_of_year"]
    known, cut_off, halfway = whole(platform.store), 0, 0
    for parts, _ in zip(permutations(names), range(tries), strict=False):
        pair = [writers.start(parts, dagster=dagster) for dagster in (False, True)]
        wait_for(platform.store, len(known) + chance.randrange(-4, 12), chance.uniform(0, 0.02))
        for process in pair:
            os.kill(process, signal.SIGKILL)
        cut_off += writers.end(pair).count(-signal.SIGKILL)
        seen = whole(platform.store)
        assert seen.items() >= known.items(), "a value changed under its cache key"
        halfway += 0 < len(seen) - len(known) < 12
        for dagster in chance.sample((False, True), 2):
            writers.end([writers.start(parts, dagster=dagster)])
        after = whole(platform.store)
        assert len(after) - len(known) == 12, "each partition has one cache key, whoever wrote it"
        assert after.items() >= seen.items(), "a value changed under its cache key"
        known = after
    writers.close()
    return cut_off, halfway


@pytest.mark.full
def test_six_pairs_of_writers_killed_at_random_leave_whole_values_and_equal_addresses(tmp_path: Path) -> None:
    cut_off, halfway = kill_writers(tmp_path, tries=6)
    assert cut_off > 6
    assert halfway > 0


@pytest.mark.soak
def test_two_hundred_pairs_of_writers_killed_at_random_leave_whole_values_and_equal_addresses(tmp_path: Path) -> None:
    cut_off, halfway = kill_writers(tmp_path, tries=200)
    sys.stdout.write(
        f"200 pairs: {cut_off} writers killed at work, {halfway} times with some of the partitions written\n"
    )
    assert cut_off > 200
    assert halfway > 60
