"""A run is a process of this machine: started, looked at, ended and gone on with by whoever asks."""

import os
import signal
from collections.abc import Iterator

import dagster as dg
import psutil
import pytest

from ml_platform.compat.dagster import WorkerStatus
from ml_platform.errors import LaunchError
from ml_platform.launchers import LocalRunLauncher
from ml_platform_tests.launchers.rig import IMMEDIATELY, Rig, instance_yaml, local, rig_in
from ml_platform_tests.servers import PATIENT_SECONDS, wait_until


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    # With resuming on, Dagster's executor alone would leave the steps of a terminated run to the next process.
    resuming = {"enabled": True, "max_resume_run_attempts": 9}
    text = instance_yaml(
        {"cpu": local("cpu"), "gpu": local("gpu")}, run_coordinator=IMMEDIATELY, run_monitoring=resuming
    )
    with rig_in(tmp_path_factory.mktemp("local"), text) as rig:
        yield rig


def other_launcher(rig: Rig) -> LocalRunLauncher:
    """Returns a launcher that did not start the run, as in another process."""
    launcher = LocalRunLauncher()
    launcher.register_instance(rig.instance)
    return launcher


def is_there(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def pid_of_run(rig: Rig, run_id: str) -> int:
    (message,) = [event.message for event in rig.events(run_id) if "Started process for run" in str(event.message)]
    return int(message.partition("pid: ")[2].rstrip(")."))


@pytest.mark.full
def test_anybody_sees_whether_a_runs_process_is_there(rig: Rig) -> None:
    run_id = rig.launch("sleepy")
    rig.wait_for_step(run_id, "sleepy")
    assert other_launcher(rig).check_run_worker_health(rig.run(run_id)).status is WorkerStatus.RUNNING
    os.kill(pid_of_run(rig, run_id), signal.SIGKILL)
    wait_until(
        lambda: rig.launcher.check_run_worker_health(rig.run(run_id)).status is WorkerStatus.FAILED,
        PATIENT_SECONDS,
        "its death",
    )
    health = other_launcher(rig).check_run_worker_health(rig.run(run_id))
    assert health.status is WorkerStatus.FAILED
    assert f"process {pid_of_run(rig, run_id)}" in str(health.msg)
    rig.instance.report_run_failed(rig.run(run_id))


@pytest.mark.full
def test_steps_do_not_outlive_their_run(rig: Rig) -> None:
    run_id = rig.launch("sleepy_on_gpu", "sleepy")
    for step in ("sleepy_on_gpu", "sleepy"):
        rig.wait_for_step(run_id, step)
    os.kill(pid_of_run(rig, run_id), signal.SIGKILL)
    steps = rig.pids_of_steps(run_id)
    assert len(steps) == 2
    wait_until(lambda: not any(map(psutil.pid_exists, steps)), PATIENT_SECONDS, "end of the steps' processes")
    rig.instance.report_run_failed(rig.run(run_id))


def test_a_run_whose_process_died_goes_on_without_repeating_what_is_done(rig: Rig) -> None:
    run_id = rig.launch("raw", "sleepy")
    rig.wait_for_step(run_id, "sleepy")
    os.kill(pid_of_run(rig, run_id), signal.SIGKILL)
    rig.instance.resume_run(run_id, rig.process.create_request_context(), 1)
    wait_until(lambda: rig.log_text(run_id).count("STEP_START sleepy") == 2, PATIENT_SECONDS, "the second try")
    assert rig.log_text(run_id).count("STEP_START raw") == 1
    rig.terminate(run_id)
    assert rig.finish(run_id) is dg.DagsterRunStatus.CANCELED, rig.log_text(run_id)


@pytest.mark.full
def test_a_terminated_run_leaves_no_process(rig: Rig) -> None:
    run_id = rig.launch("sleepy_on_gpu", "sleepy")
    for step in ("sleepy_on_gpu", "sleepy"):
        rig.wait_for_step(run_id, step)
    processes = [pid_of_run(rig, run_id), *rig.pids_of_steps(run_id)]
    rig.terminate(run_id)
    assert rig.finish(run_id) is dg.DagsterRunStatus.CANCELED, rig.log_text(run_id)
    assert len(processes) == 3
    wait_until(lambda: not any(map(is_there, processes)), PATIENT_SECONDS, "end of the processes")


@pytest.mark.full
def test_a_mixed_run_goes_on_with_the_steps_that_died_with_it(rig: Rig) -> None:
    run_id = rig.launch("raw", "sleepy_on_gpu", "sleepy")
    for step in ("raw", "sleepy_on_gpu", "sleepy"):
        rig.wait_for_step(run_id, step)
    os.kill(pid_of_run(rig, run_id), signal.SIGKILL)
    wait_until(
        lambda: not any(map(psutil.pid_exists, rig.pids_of_steps(run_id))),
        PATIENT_SECONDS,
        "end of the steps' processes",
    )
    rig.instance.resume_run(run_id, rig.process.create_request_context(), 1)
    wait_until(lambda: rig.log_text(run_id).count("STEP_START sleepy_on_gpu") == 2, PATIENT_SECONDS, "the second try")
    assert rig.log_text(run_id).count("STEP_START raw") == 1
    assert not any(event.is_step_failure for event in rig.events(run_id)), rig.log_text(run_id)
    rig.terminate(run_id)
    assert rig.finish(run_id) is dg.DagsterRunStatus.CANCELED, rig.log_text(run_id)


def test_what_a_runs_process_printed_is_there_when_it_dies(rig: Rig) -> None:
    run_id = rig.launch("sleepy")
    rig.wait_for_step(run_id, "sleepy")
    assert "STEP_START - Started execution of step" in str(rig.launcher.get_run_worker_debug_info(rig.run(run_id)))
    rig.terminate(run_id)
    assert rig.finish(run_id) is dg.DagsterRunStatus.CANCELED


def test_cores_are_whole_and_there() -> None:
    with pytest.raises(LaunchError, match="cores is 0; expected a whole number from 1"):
        LocalRunLauncher(cores=0)
