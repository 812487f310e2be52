"""Runs and steps reach a Ray cluster once each, and what becomes of them there is known: on a real one, on the loopback."""

import os
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from ml_platform.compat.dagster import LaunchRunContext, WorkerStatus
from ml_platform.errors import LaunchError
from ml_platform.launchers import LocalRunLauncher, RoutingRunLauncher
from ml_platform.launchers.backends.protocol import RetryLater, State
from ml_platform.launchers.leases.schema import DIED, ENDED, EVICTED, OUT_OF_MEMORY, Launch, Work
from ml_platform.launchers.leases.table import Launches
from ml_platform.launchers.runs.reconciler import Reconciler
from ml_platform_tests.launchers.rig import IMMEDIATELY, Rig, instance_yaml, local, rig_in
from ml_platform_tests.launchers.world import TIMEOUTS
from ml_platform_tests.servers import PATIENT_SECONDS, free_port, wait_until

pytestmark = pytest.mark.full

SUCCESS, CANCELED = dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.CANCELED
# Ray would else bind all interfaces, and tell its makers that it is used.
QUIETLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
SECRET = "a-password-of-the-launchers-configuration"


@contextmanager
def ray_cluster() -> Iterator[int]:
    """Starts Ray with its job server on this machine; gives the port."""
    port = free_port()
    options = {
        "node-ip-address": "127.0.0.1", "port": 0, "dashboard-host": "127.0.0.1", "dashboard-port": port,
        "dashboard-agent-listen-port": 0, "ray-client-server-port": free_port(), "min-worker-port": 0,
        "max-worker-port": 0, "num-cpus": 2, "object-store-memory": 100_000_000, "include-log-monitor": "false",
    }  # fmt: skip
    # Its sockets' paths must be short.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        flags = [f"--{name}={value}" for name, value in {**options, "temp-dir": folder}.items()]
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", *flags]
        process = subprocess.Popen(
            command, env={**os.environ, **QUIETLY}, stdout=subprocess.DEVNULL, start_new_session=True
        )
        try:
            wait_until(lambda: is_answering(port, process), PATIENT_SECONDS, "Ray's job server")
            yield port
        finally:
            started = psutil.Process(process.pid).children(recursive=True)
            process.terminate()  # which ends the others
            for left in psutil.wait_procs([psutil.Process(process.pid), *started], timeout=30)[1]:
                left.kill()
            process.wait()


def is_answering(port: int, process: "subprocess.Popen[bytes]") -> bool:
    assert process.poll() is None, "Ray ended by itself"
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Gate(socketserver.ThreadingTCPServer):
    """Stands before a server: open, shut as if nobody was there, or mute: what is asked is done, no answer comes back."""

    daemon_threads = True

    def __init__(self, behind: int):
        super().__init__(("127.0.0.1", 0), _Passing)
        self.behind = behind
        self.state = "open"

    @contextmanager
    def being(self, state: str) -> Iterator[None]:
        self.state = state
        try:
            yield
        finally:
            self.state = "open"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Passing(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        gate: Any = self.server
        if gate.state == "shut":
            return
        with socket.create_connection(("127.0.0.1", gate.behind)) as there:
            asking = threading.Thread(target=pass_on, args=(self.request, there), daemon=True)
            asking.start()
            if gate.state == "mute":
                there.recv(1)
            else:
                pass_on(there, self.request)


def pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while received := source.recv(65_536):
            target.sendall(received)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def gate() -> Iterator[Gate]:
    with ray_cluster() as port, Gate(port) as gate:
        threading.Thread(target=gate.serve_forever, daemon=True).start()
        yield gate
        gate.shutdown()


def ray(address: str, **config: Any) -> dict[str, Any]:
    """Declares a launcher on a Ray cluster."""
    return {
        "module": "dagster_ray",
        "class": "RayRunLauncher",
        "config": {"ray": {"address": address, **config}},
    }


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, gate: Gate) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("ray")
    launchers = {"cpu": local("cpu"), "gpu": ray(gate.url, env_vars=["PLACE=ray", f"PASSWORD={SECRET}"])}
    text = instance_yaml(launchers, timeouts=TIMEOUTS, run_coordinator=IMMEDIATELY)
    with rig_in(folder / "home", text, module="ml_platform_tests.launchers.with_ray") as rig:
        yield rig


def launches_of(rig: Rig, run_id: str) -> dict[str, Launch]:
    """Returns the newest launch of a run and of each of its steps, the run's under an empty name."""
    return {launch.work.step: launch for launch in Launches.of(rig.instance).of_run(run_id)}


def reconcile_until(rig: Rig, is_done: Callable[[], bool], what: str) -> None:
    def look() -> bool:
        Reconciler(rig.instance).look_once()
        return is_done()

    wait_until(look, PATIENT_SECONDS, what)


def is_at_work(pid: int | None) -> bool:
    assert pid is not None
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def jobs_of(rig: Rig, launch: Launch) -> list[Any]:
    """Lists what Ray has of a launch."""
    backend: Any = rig.launcher.starter.backend("gpu")
    return [one for one in backend._client.list_jobs() if (one.metadata or {}).get("ml-platform/launch") == launch.id]


@pytest.fixture(scope="module")
def waited(rig: Rig, gate: Gate) -> str:
    """Launches a run while Ray's answers are lost, then nobody is there, then all is well; and waits for its end."""
    backend: Any = rig.launcher.starter.backend("gpu")
    assert backend._client, "it connects before answers are lost"
    with gate.being("mute"):
        run_id = rig.launch("trained", tags={"dagster-ray/config": '{"num_cpus": 64}'})
        first = launches_of(rig, run_id)[""]
    with gate.being("shut"):
        reconcile_until(rig, lambda: launches_of(rig, run_id)[""].fencing_token > first.fencing_token, "another try")
    reconcile_until(rig, lambda: rig.run(run_id).is_finished, "the run's end")
    return run_id


def test_a_run_waits_for_ray_and_is_executed_once_although_an_answer_was_lost(rig: Rig, waited: str) -> None:
    assert rig.run(waited).status is SUCCESS, rig.log_text(waited)
    assert "Launcher gpu is busy: ConnectionError" in rig.log_text(waited)
    assert rig.log_text(waited).count("STEP_START trained:") == 1
    assert len(jobs_of(rig, launches_of(rig, waited)[""])) == 2, "one of them could get no lease"


def test_a_run_goes_whole_to_ray_whatever_its_tags_ask_for(rig: Rig, waited: str) -> None:
    places = rig.places(waited)
    assert set(places) == {"trained", "trained_looks_right"}
    assert {(place["PLACE"], place["OMP_NUM_THREADS"]) for place in places.values()} == {("ray", "1")}
    assert {place["pid"] for place in places.values()} == {launches_of(rig, waited)[""].pid}, "who has the lease"
    assert "STEP_START - Started execution of step" in str(rig.launcher.get_run_worker_debug_info(rig.run(waited)))


def test_a_run_that_two_launch_at_a_time_is_executed_once(rig: Rig, waited: str) -> None:
    new = {"run_id": str(uuid.uuid4()), "status": dg.DagsterRunStatus.STARTING, "tags": {}}
    run = rig.instance.add_run(rig.run(waited)._replace(**new))
    context, barrier = LaunchRunContext(run, rig.process.create_request_context()), threading.Barrier(2)

    def launch(_: int) -> None:
        barrier.wait()
        rig.launcher.launch_run(context)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(launch, range(2)))
    assert rig.finish(run.run_id, 180) is SUCCESS, rig.log_text(run.run_id)
    assert rig.log_text(run.run_id).count("STEP_START trained:") == 1


def test_a_step_of_a_mixed_run_has_its_tasks_executed_by_ray(rig: Rig) -> None:
    run_id = rig.launch("raw", "spread_out")
    assert rig.finish(run_id, 180) is SUCCESS, rig.log_text(run_id)
    places = rig.places(run_id)
    assert (places["raw"]["PLACE"], places["spread_out"]["PLACE"]) == ("cpu", "ray")
    assert places["spread_out"]["total"] == 25
    assert places["spread_out"]["pid"] not in places["spread_out"]["workers"]


def test_a_job_server_that_is_away_says_nothing_and_one_that_answers_says_that_a_job_was_killed(
    rig: Rig, gate: Gate
) -> None:
    run_id = rig.launch("sleepy_on_gpu")
    rig.wait_for_step(run_id, "sleepy_on_gpu")
    launch = launches_of(rig, run_id)[""]
    with gate.being("shut"):
        assert rig.launcher.starter.look(launch).state is State.UNREACHABLE
        assert rig.launcher.check_run_worker_health(rig.run(run_id)).status is WorkerStatus.RUNNING
    os.kill(launch.pid or 0, signal.SIGKILL)
    wait_until(
        lambda: rig.launcher.check_run_worker_health(rig.run(run_id)).status is WorkerStatus.FAILED,
        PATIENT_SECONDS,
        "it",
    )
    ended = launches_of(rig, run_id)[""]
    assert (ended.outcome, "was killed (out of memory" in str(ended.reason)) == (OUT_OF_MEMORY, True)
    rig.instance.report_run_failed(rig.run(run_id))


def test_a_terminated_run_leaves_nothing_at_work_in_ray(rig: Rig) -> None:
    run_id = rig.launch("raw", "sleepy_on_gpu", "greedy")
    rig.wait_for_step(run_id, "sleepy_on_gpu")
    rig.wait_for_step(run_id, "greedy", "STEP_WORKER_STARTING")
    pid = launches_of(rig, run_id)["sleepy_on_gpu"].pid
    assert is_at_work(pid)
    rig.terminate(run_id)
    assert rig.finish(run_id, 180) is CANCELED, rig.log_text(run_id)
    reconcile_until(rig, lambda: not any(one.is_open for one in launches_of(rig, run_id).values()), "the steps' end")
    wait_until(lambda: not is_at_work(pid), PATIENT_SECONDS, "the end of the step's process")
    waiting, backend = launches_of(rig, run_id)["greedy"], rig.launcher.starter.backend("gpu")
    assert waiting.acquired is None
    # The one at work takes a moment from the end of its process to "stopped"; the other Ray drops when its turn comes.
    wait_until(
        lambda: [orphan.launch_id for orphan in backend.orphans()] == [waiting.id],
        PATIENT_SECONDS,
        "the end of the other",
    )


def test_what_the_log_says_holds_no_variable_of_the_launcher(rig: Rig, waited: str) -> None:
    texts = [rig.log_text(run.run_id) for run in rig.instance.get_runs()]
    texts += [str(rig.launcher.get_run_worker_debug_info(run)) for run in rig.instance.get_runs()]
    assert not any(SECRET in one for one in texts)


@pytest.fixture
def launch(rig: Rig) -> Iterator[Launch]:
    launches = Launches.of(rig.instance)
    yield (opened := launches.intend(Work("none", "none", "job"), "gpu"))
    launches.release(opened, ENDED)


def test_the_same_job_is_taken_up_and_another_of_its_name_is_refused(rig: Rig, launch: Launch) -> None:
    backend: Any = rig.launcher.starter.backend("gpu")
    assert backend.submit(launch, ["true"], {})
    assert backend.submit(launch, ["true"], {}), "as by a second daemon: Ray has it already"
    with pytest.raises(RetryLater, match="with other settings"):
        backend.submit(launch, ["false"], {})
    later = Launches.of(rig.instance).put_off(launch, "test", 0.0)
    backend._client.submit_job(submission_id=f"ml-platform-{later.id}-{later.fencing_token}", entrypoint="true")
    with pytest.raises(LaunchError, match=r"is not what would be submitted .* found none"):
        backend.submit(later, ["true"], {})


@pytest.mark.parametrize(("status", "expected"), [(413, LaunchError), (401, RetryLater), (503, RetryLater)])
def test_what_is_refused_for_ever_is_told_from_what_may_be_taken_later(
    rig: Rig, launch: Launch, status: int, expected: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ml_platform.launchers.backends.ray import _Answer

    def refuse(**_: Any) -> None:
        raise _Answer(status, "not this one")

    backend: Any = rig.launcher.starter.backend("gpu")
    monkeypatch.setattr(backend._client, "submit_job", refuse)
    with pytest.raises(expected, match=rf"not this one \({status}\)"):
        backend.submit(launch, ["true"], {})


NODE_DIED = (
    "Job supervisor actor died: The actor died unexpectedly.\nThe actor died because its node has died. Node Id: 1"
)


@pytest.mark.parametrize(
    ("status", "details", "state", "outcome"),
    [
        ("PENDING", {}, State.UNREACHABLE, DIED),
        ("RUNNING", {}, State.RUNNING, DIED),
        ("SUCCEEDED", {"driver_exit_code": 0}, State.ENDED, ENDED),
        ("STOPPED", {}, State.ENDED, DIED),
        ("FAILED", {"driver_exit_code": 1}, State.ENDED, DIED),
        ("FAILED", {"driver_exit_code": 137}, State.ENDED, OUT_OF_MEMORY),
        ("FAILED", {"message": NODE_DIED}, State.ENDED, EVICTED),
    ],
)
def test_what_ray_says_of_a_job_that_is_to_end(status: str, details: Any, state: State, outcome: str) -> None:
    from ray.job_submission import JobDetails

    from ml_platform.launchers.backends.ray import _seen

    job = JobDetails(type="SUBMISSION", status=status, entrypoint="true", **details)
    launch = Launch("id", Work("run", "run", "job"), 1, 1, "gpu", 0.0, name="name", ending=1.0)
    seen = _seen(launch, job)
    assert (seen.state, seen.outcome) == (state, outcome)
    if status == "PENDING":
        assert _seen(replace(launch, ending=None), job).state is State.RUNNING


@pytest.mark.parametrize("missing", ["dagster_ray", "ray.job_submission"])
def test_without_its_packages_the_extra_is_named_and_the_others_go_on(
    missing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "dagster.yaml").write_text(instance_yaml({"cpu": local("cpu"), "gpu": ray("http://127.0.0.1:1")}))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        monkeypatch.setitem(sys.modules, missing, None)
        launcher = instance.run_launcher
        assert isinstance(launcher, RoutingRunLauncher)
        with pytest.raises(LaunchError, match=r"launcher gpu.*pip install 'ml_platform\[ray\]'"):
            launcher.starter.backend("gpu")
        assert isinstance(launcher.starter.backend("cpu"), LocalRunLauncher)


def test_the_table_of_routes_says_what_a_step_would_hold() -> None:
    launcher = RoutingRunLauncher("cpu", {"cpu": local("cpu"), "gpu": ray("http://ray:8265", num_cpus=2)})
    step_resources_of, config = (
        launcher.children.backend_spec("gpu").step_resources_of,
        launcher.children.config_of("gpu"),
    )
    assert step_resources_of(config, {}).resources == {"num_cpus": 2}
    assert step_resources_of(config, {"dagster-ray/config": '{"num_gpus": 1}'}).resources == {
        "num_cpus": 2,
        "num_gpus": 1,
    }
