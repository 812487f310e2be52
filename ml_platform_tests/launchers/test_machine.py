"""In whatever order things start, end, wait, are killed and time out: no work twice, none lost, none stuck, no pod left."""

import sys
from collections import Counter
from pathlib import Path

import dagster as dg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from ml_platform_tests import tiers
from ml_platform_tests.launchers.case_run import databases
from ml_platform_tests.launchers.machine import Machine
from ml_platform_tests.launchers.rig import event_log, instance_yaml, local
from ml_platform_tests.postgres import Postgres

STEPS = 50


@pytest.mark.parametrize("examples", tiers.counts("orders of things"))
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_every_order_of_things_comes_to_a_good_end(
    database: str, examples: int, tmp_path: Path, postgres_server: Postgres
) -> None:
    drive(database, tmp_path, postgres_server, examples)
    sys.stdout.write(f"\n{database}: {sum(Machine.steps.values()):,} steps: {dict(Machine.steps)}\n")
    assert sum(Machine.steps.values()) >= 40 * examples, Machine.steps
    assert min(Machine.steps.values()) >= examples // 6, Machine.steps


def drive(database: str, folder: Path, server: Postgres, examples: int) -> None:
    storage = (
        {"storage": databases(server, f"machine_{examples}", 1)[0]}
        if database == "postgres"
        else {"event_log_storage": event_log(folder)}
    )
    queue = {"module": "ml_platform.launchers", "class": "RoutingRunCoordinator"}
    text = instance_yaml({"cpu": local("cpu"), "gpu": local("gpu")}, run_coordinator=queue, **storage)
    folder.mkdir(exist_ok=True)
    (folder / "dagster.yaml").write_text(text)
    Machine.steps = Counter()
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        Machine.instance = instance
        found = settings(
            max_examples=examples, stateful_step_count=STEPS, deadline=None, derandomize=True, database=None,
            phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        run_state_machine_as_test(Machine, settings=found)
