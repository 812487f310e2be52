"""Each step executes where it asks to, on every way that a run can come about; nothing waits that need not."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest

from ml_platform.launchers import LAUNCHER_TAG
from ml_platform_tests.launchers.location import CHAIN, FOLDER
from ml_platform_tests.launchers.rig import IMMEDIATELY, MODULE, Rig, instance_yaml, local, rig_in
from ml_platform_tests.servers import PATIENT_SECONDS, wait_until

SUCCESS, FAILURE, CANCELED = dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("local")
    launchers = {name: local(name, **config) for name, config in {"cpu": {}, "gpu": {"cores": 1}}.items()}
    launchers["cpu"]["config"]["env"] |= {"ONLY_CPU": "yes", "DAGSTER_EXECUTOR_POP_EVENTS_LIMIT": "50"}
    for launcher in launchers.values():
        launcher["config"]["env"][FOLDER] = str(folder)
    with rig_in(folder / "home", instance_yaml(launchers, run_coordinator=IMMEDIATELY)) as rig:
        yield rig


@pytest.fixture(scope="module")
def mixed(rig: Rig) -> str:
    run_id = rig.launch(*CHAIN, tags={LAUNCHER_TAG: "gpu"})
    assert rig.finish(run_id) is SUCCESS, rig.log_text(run_id)
    return run_id


def test_each_step_of_a_mixed_run_is_on_its_launcher(rig: Rig, mixed: str) -> None:
    places = {step: place["PLACE"] for step, place in rig.places(mixed).items()}
    assert places == {"raw": "cpu", "clean": "cpu", "trained": "gpu", "trained_looks_right": "gpu", "scored": "cpu"}


def test_steps_of_the_runs_own_launcher_share_its_process(rig: Rig, mixed: str) -> None:
    places = rig.places(mixed)
    assert places["raw"]["pid"] == places["clean"]["pid"]
    assert places["trained"]["pid"] != places["raw"]["pid"]


def test_a_step_has_the_threads_of_the_cores_that_it_owns(rig: Rig, mixed: str) -> None:
    places = rig.places(mixed)
    cores = os.environ.get("OMP_NUM_THREADS") or str(len(os.sched_getaffinity(0)))
    assert (places["raw"]["OMP_NUM_THREADS"], places["trained"]["OMP_NUM_THREADS"]) == (cores, "1")
    assert {place["OMP_WAIT_POLICY"] for place in places.values()} == {"passive"}


def test_a_launchers_variables_are_its_own(rig: Rig, mixed: str) -> None:
    places = rig.places(mixed)
    assert (places["scored"]["ONLY_CPU"], places["trained"]["ONLY_CPU"]) == ("yes", "")


@pytest.mark.full
def test_a_step_of_many_events_ends_once(rig: Rig) -> None:
    run_id = rig.launch("raw", "clean", "trained", "quick_one", "talkative")
    assert rig.finish(run_id) is SUCCESS, rig.log_text(run_id)


@pytest.mark.full
def test_a_resource_that_cannot_be_set_up_is_its_steps_failure(rig: Rig) -> None:
    run_id = rig.launch("needs_stubborn", "apart")
    assert rig.finish(run_id) is SUCCESS, rig.log_text(run_id)
    assert len([event for event in rig.events(run_id) if event.is_step_up_for_retry]) == 1


def test_a_run_tag_that_names_another_launcher_changes_nothing(rig: Rig, mixed: str) -> None:
    assert rig.run(mixed).tags[LAUNCHER_TAG] == "cpu", "the tag says where the run went, whoever had set it"


@pytest.mark.full
def test_a_run_whose_steps_agree_goes_whole_to_their_launcher(rig: Rig) -> None:
    run_id = rig.launch("trained", "escalating", tags={LAUNCHER_TAG: "cpu"})
    assert rig.finish(run_id) is SUCCESS, rig.log_text(run_id)
    places = rig.places(run_id)
    assert {place["PLACE"] for place in places.values()} == {"gpu"}
    assert len({place["pid"] for place in places.values()}) == 1
    assert set(places) == {"trained", "trained_looks_right", "escalating"}


@pytest.mark.full
def test_a_check_alone_goes_where_its_asset_goes(rig: Rig) -> None:
    run_id = rig.launch(checks=["looks_right"])
    assert rig.finish(run_id) is SUCCESS, rig.log_text(run_id)
    assert rig.places(run_id)["trained_looks_right"]["PLACE"] == "gpu"


@pytest.mark.full
def test_an_isolated_step_has_a_process_of_its_own(rig: Rig) -> None:
    run_id = rig.launch("raw", "apart")
    assert rig.finish(run_id) is SUCCESS, rig.log_text(run_id)
    places = rig.places(run_id)
    assert places["apart"]["PLACE"] == places["raw"]["PLACE"] == "cpu"
    assert places["apart"]["pid"] != places["raw"]["pid"]


@pytest.mark.full
def test_nobody_waits_for_a_step_elsewhere_that_they_do_not_need(rig: Rig) -> None:
    run_id = rig.launch("slow_on_gpu", "quick_one", "quick_two")
    assert rig.finish(run_id) is SUCCESS, rig.log_text(run_id)
    ended = [str(event.step_key) for event in rig.events(run_id) if event.is_step_success]
    assert ended == ["quick_one", "quick_two", "slow_on_gpu"]


def test_a_step_that_fails_is_tried_again_where_it_belongs(rig: Rig) -> None:
    run_id = rig.launch("fails_once", "raw")
    assert rig.finish(run_id) is SUCCESS, rig.log_text(run_id)
    assert [event.event_type_value for event in rig.events(run_id) if event.is_step_up_for_retry] == [
        "STEP_UP_FOR_RETRY"
    ]


@pytest.mark.full
def test_a_step_whose_process_dies_fails_and_says_how(rig: Rig) -> None:
    run_id = rig.launch("dies", "raw")
    assert rig.finish(run_id) is FAILURE
    assert "was ended by SIGKILL (out of memory, or somebody killed it)" in rig.log_text(run_id)
    assert "raw" in rig.places(run_id), "the other steps went on"


@pytest.mark.full
def test_what_failed_is_executed_again_on_its_launcher_alone(rig: Rig) -> None:
    first = rig.launch("raw", "clean", "fails_until_mended")
    assert rig.finish(first) is FAILURE
    folder = Path(rig.launcher.children.config_of("gpu")["env"][FOLDER])
    (folder / "mended").touch()
    second = rig.reexecute(first)
    assert rig.finish(second) is SUCCESS, rig.log_text(second)
    places = rig.places(second)
    assert {step: place["PLACE"] for step, place in places.items()} == {"fails_until_mended": "gpu"}
    assert "goes to launcher gpu, with all its steps" in rig.log_text(second), "not mixed: its other steps are done"


@pytest.mark.full
def test_steps_that_are_made_at_run_time_follow_their_plan(rig: Rig) -> None:
    run_id = rig.launch(job="dynamic")
    assert rig.finish(run_id) is SUCCESS, rig.log_text(run_id)
    starting = {str(event.step_key) for event in rig.events(run_id) if event.event_type_value == "STEP_WORKER_STARTING"}
    assert starting == {"double[part_0]", "double[part_1]"}


def test_an_unknown_launcher_is_refused_by_name_with_those_that_exist(rig: Rig) -> None:
    with pytest.raises(AssertionError, match="LaunchError: step lost asks for launcher 'gpuu', which does not exist"):
        rig.launch("lost", "raw")  # Dagster's UI shows the same
    (run,) = rig.instance.get_runs(limit=1)
    assert rig.finish(run.run_id) is FAILURE
    assert "did you mean 'gpu'? Expected one of: cpu, gpu (in dagster.yaml" in rig.log_text(run.run_id)
    assert rig.places(run.run_id) == {}


@pytest.mark.full
def test_a_run_in_its_callers_process_sends_every_step(rig: Rig) -> None:
    home = rig.instance.root_directory
    command = ["job", "execute", "-m", MODULE, "-j", "chain"]
    done = subprocess.run(
        [sys.executable, "-m", "dagster", *command],
        env={**os.environ, "DAGSTER_HOME": home},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (run,) = rig.instance.get_runs(dg.RunsFilter(job_name="chain"), limit=1)
    places = rig.places(run.run_id)
    assert {step: place["PLACE"] for step, place in places.items()} == {
        "raw": "cpu", "clean": "cpu", "trained": "gpu", "trained_looks_right": "gpu", "scored": "cpu",
    }  # fmt: skip


def test_a_terminated_run_ends_its_steps_everywhere(rig: Rig) -> None:
    run_id = rig.launch("sleepy_on_gpu", "sleepy")
    for step in ("sleepy_on_gpu", "sleepy"):
        rig.wait_for_step(run_id, step)
    rig.terminate(run_id)
    assert rig.finish(run_id) is CANCELED, rig.log_text(run_id)
    assert len(rig.pids_of_steps(run_id)) == 2
    wait_until(
        lambda: not any(map(psutil.pid_exists, rig.pids_of_steps(run_id))),
        PATIENT_SECONDS,
        "end of the steps' processes",
    )


@pytest.mark.full
def test_without_a_routing_launcher_a_run_executes_in_one_process_and_says_so(tmp_path: Path) -> None:
    with rig_in(tmp_path, "run_coordinator: " + json.dumps(IMMEDIATELY)) as stock:
        run_id = stock.launch("raw", "trained")
        assert stock.finish(run_id) is SUCCESS, stock.log_text(run_id)
        assert "the instance's DefaultRunLauncher has no launchers by name" in stock.log_text(run_id)
        assert len({place["pid"] for place in stock.places(run_id).values()}) == 1
