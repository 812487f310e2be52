"""The real digits pipeline as one mixed run, on two clusters and on a laptop: the same artifacts, each on its hardware."""

from pathlib import Path

import dagster as dg
import pytest
import yaml

from ml_platform.artifacts import ArtifactStore
from ml_platform.project import LOCAL_INSTANCE
from ml_platform.runtime.environment import thread_count
from ml_platform_tests.launchers.clusters import beside, components, spans_of_steps, two_clusters
from ml_platform_tests.launchers.rig import IMMEDIATELY, instance_yaml, rig_in

pytestmark = pytest.mark.full

MODULE = "ml_platform.definitions"
NETWORK, STORE = "digits__network", "ML_PLATFORM_ARTIFACTS"


def digests(folder: Path) -> dict[str, str]:
    store = ArtifactStore(str(folder))
    names = ["lake/digits", *(f"digits/{part}" for part in ("scaled", "svc", "network", "evaluation", "predictions"))]
    return {name: store.require(name).digest for name in names}


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The artifacts of a mixed run on the local deployment's launchers."""
    folder = tmp_path_factory.mktemp("laptop")
    declared = yaml.safe_load(LOCAL_INSTANCE.read_text())
    text = yaml.safe_dump({**declared, "run_coordinator": IMMEDIATELY, "event_log_storage": kept(folder)})
    with pytest.MonkeyPatch.context() as patch, rig_in(folder / "home", text, module=MODULE) as rig:
        patch.setenv(STORE, str(folder / "artifacts"))
        run_id = rig.launch(job="digits")
        assert rig.finish(run_id, 300) is dg.DagsterRunStatus.SUCCESS, rig.log_text(run_id)
        sent = {str(e.step_key) for e in rig.events(run_id) if e.event_type_value == "STEP_WORKER_STARTING"}
        assert sent == {NETWORK, "digits__svc"}, "one is sent, one is beside it, the others share the run's process"
        again = rig.launch(job="digits")
        assert rig.finish(again, 300) is dg.DagsterRunStatus.SUCCESS, rig.log_text(again)
        assert "STEP_WORKER_STARTING" not in rig.log_text(again), "nothing is started for what is reused"
        assert NETWORK in spans_of_steps(rig.instance, again)
    return digests(folder / "artifacts")


def kept(folder: Path) -> dict[str, object]:
    """Keeps the event log in a folder, as the local deployment does."""
    config = {"base_dir": str(folder / "home")}
    return {"module": "ml_platform.storages.sqlite", "class": "KeptEngineSqliteEventLogStorage", "config": config}


def test_each_step_has_its_cluster_and_no_gpu_is_held_for_others(tmp_path: Path, laptop: dict[str, str]) -> None:
    home, cores = tmp_path / "home", thread_count()
    variables = {STORE: str(tmp_path / "artifacts")}
    with two_clusters(tmp_path / "pods", home, (cores, cores), **variables) as (cpu, gpu, launchers):
        with rig_in(home, instance_yaml(launchers, run_coordinator=IMMEDIATELY), module=MODULE) as rig:
            run_id = rig.launch(job="digits")
            assert rig.finish(run_id, 300) is dg.DagsterRunStatus.SUCCESS, rig.log_text(run_id)
            spans = spans_of_steps(rig.instance, run_id)
        assert (components(cpu), components(gpu)) == (["run"], [NETWORK])
        (fitting,) = gpu.record
        assert len(spans) == 9, sorted(spans)
        assert beside(fitting, spans) == {"digits__svc"}, "it needs nothing of the network, so it goes on beside it"
    assert digests(tmp_path / "artifacts") == laptop
