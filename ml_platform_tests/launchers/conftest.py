"""What the tests of the fences share: an instance, and a launch in its table."""

import uuid
from collections.abc import Iterator
from dataclasses import replace

import dagster as dg
import pytest

from ml_platform.launchers.leases.schema import ENDED, Launch, Work
from ml_platform.launchers.leases.table import Launches
from ml_platform.launchers.routes import Route
from ml_platform_tests.launchers.rig import event_log, instance_yaml, local

WORK = Work("run", "run", "job")


@pytest.fixture(scope="module")
def shared_instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    tmp_path = tmp_path_factory.mktemp("instance")
    queue = {"module": "ml_platform.launchers", "class": "RoutingRunCoordinator"}
    launchers = {"cpu": local("cpu"), "gpu": local("gpu")}
    timeouts = {"first_seconds": 5.0, "longest_seconds": 60.0, "grace_seconds": 30.0}
    text = instance_yaml(launchers, timeouts=timeouts, run_coordinator=queue, event_log_storage=event_log(tmp_path))
    (tmp_path / "dagster.yaml").write_text(text)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


@pytest.fixture
def instance(shared_instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """The instance, with nothing open of the tests before."""
    for run in shared_instance.get_runs():
        shared_instance.delete_run(run.run_id)
    for launch in Launches.of(shared_instance).open():
        Launches.of(shared_instance).release(launch, ENDED)
    return shared_instance


@pytest.fixture
def launches(instance: dg.DagsterInstance) -> Launches:
    return Launches.of(instance)


@pytest.fixture
def launch(launches: Launches) -> Launch:
    work = replace(WORK, run_id=uuid.uuid4().hex)
    return launches.intend(work, "cpu", Route("cpu", {}))
