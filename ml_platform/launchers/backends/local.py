"""Starts runs as processes of this machine."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from dagster import DagsterRun, Field, IntSource, Map, StringSource

from ml_platform.compat.dagster import (
    CheckRunHealthResult,
    ConfigurableClass,
    ConfigurableClassData,
    LaunchRunContext,
    ResumeRunContext,
    RunLauncher,
    WorkerStatus,
)
from ml_platform.compat.dagster_steps import ExecuteRunArgs, ResumeRunArgs
from ml_platform.errors import LaunchError
from ml_platform.launchers.backends.local_steps import Cores, LocalSteps, environment_with
from ml_platform.launchers.backends.protocol import Context, LaunchStatus, Orphan, RetryLater, State
from ml_platform.launchers.backends.registry import BackendSpec, Config, StepResources
from ml_platform.launchers.leases.lease import LEASE_VARIABLE, leased_command
from ml_platform.launchers.leases.schema import DIED, OUT_OF_MEMORY, Launch, digest_of, work_of
from ml_platform.launchers.leases.table import Launches

LOCAL = "local"  # the launcher's name where it is the instance's only one
_GRACE_SECONDS = 30.0  # for a run to end its steps and say so
_LOG_TAIL_BYTES = 8_000


class LocalRunLauncher(RunLauncher[Any], ConfigurableClass):
    """Starts each run as a process of this machine: the local twin of a cluster's launcher, and its own backend.

    A run outlives whoever launched it; its health is that of its process, also when another process asks.

    Args:
        cores: how many cores a step owns, and so its threads; as many steps as fit run at once. None: all of them
            (or `OMP_NUM_THREADS`, where that is set).
        env: environment variables for runs and steps.
    """

    acquires_lease = True

    def __init__(
        self,
        cores: int | None = None,
        env: Mapping[str, str] | None = None,
        inst_data: ConfigurableClassData | None = None,
    ):
        if cores is not None and cores < 1:
            raise LaunchError(f"cores is {cores}; expected a whole number from 1, or no such line for all cores")
        self.cores = Cores(cores)
        self.env = dict(env or {})
        self._inst_data = inst_data
        self._children: dict[int, tuple[Launch, subprocess.Popen[bytes]]] = {}
        self._ended: dict[tuple[str, int], int] = {}  # lease and number of a process to its exit status
        super().__init__()

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """Returns what the instance's configuration says of this launcher."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Returns what `dagster.yaml` may say."""
        return {
            "cores": Field(IntSource, is_required=False, description="How many cores a step owns; by default all."),
            "env": Field(Map(str, StringSource), is_required=False, description="Variables for runs and steps."),
        }

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Config) -> "LocalRunLauncher":
        """Builds the launcher from `dagster.yaml`."""
        return cls(inst_data=inst_data, **config_value)

    def environment(self) -> dict[str, str]:
        """Returns the variables that make a process of this launcher's differ from this one."""
        return {**self.cores.environment(), **self.env}

    def launch_run(self, context: LaunchRunContext) -> None:
        """Starts the run's process."""
        self.start(Launches.of(self._instance).intend(work_of(context.dagster_run), LOCAL), context)

    @property
    def supports_resume_run(self) -> bool:
        """Steps that are done are not executed again by a run that goes on."""
        return True

    def resume_run(self, context: ResumeRunContext) -> None:
        """Starts another process for a run whose process died."""
        self.start(Launches.of(self._instance).intend(work_of(context.dagster_run), LOCAL), context)

    def start(self, launch: Launch, context: Context) -> None:
        """Starts a process that takes the lease of the launch, and then runs Dagster's command for the run.

        Raises:
            RetryLater: this machine cannot start one now.
        """
        run, launches = context.dagster_run, Launches.of(self._instance)
        assert run.job_code_origin is not None, f"run {run.run_id} has no code to execute"
        args = ResumeRunArgs if isinstance(context, ResumeRunContext) else ExecuteRunArgs
        command = args(run.job_code_origin, run.run_id, self._instance.get_ref(), True).get_command_args()
        # Recorded before the process is there: a crash in between leaves a launch without a process, which is started
        # over, and never a process that nobody knows of.
        if not launches.specify(launch, digest_of(command), socket.gethostname(), None):
            return  # it is at work, over, or put off by somebody else
        self._reap()
        pid = self._start(launch, leased_command(command, launch.lease_id))
        launches.created(launch, str(pid))
        message = f"Started process {pid} for the run, on {self.cores}"
        self._instance.report_engine_event(message, run, cls=type(self))

    def _start(self, launch: Launch, command: list[str]) -> int:
        log = self._log_of(launch.work.run_id)
        log.parent.mkdir(parents=True, exist_ok=True)
        try:
            log.touch(mode=0o600)
            with log.open("ab") as output:
                process = subprocess.Popen(  # noqa: S603  (Dagster's own command, behind a lease)
                    command,
                    env={**environment_with(self.environment()), LEASE_VARIABLE: launch.lease_id},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # it outlives whoever launched it, and is signalled apart from it
                )
        except OSError as error:
            raise RetryLater(f"no process can be started here: {error}") from error
        self._children[process.pid] = launch, process
        return process.pid

    def terminate(self, run_id: str) -> bool:
        """Interrupts the run's process; the run ends its steps and says so itself."""
        run, launch = self._instance.get_run_by_id(run_id), self._launch_of(run_id)
        if run is None or run.is_finished or launch is None:
            return False
        self._instance.report_run_canceling(run)
        Launches.of(self._instance).end(launch)
        self.end(launch)
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """A process that is gone is noticed."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Looks whether the run's process is there."""
        launch = self._launch_of(run.run_id)
        if launch is None or not launch.is_open:
            reason = (launch and launch.reason) or "no process does its work"
            return CheckRunHealthResult(WorkerStatus.FAILED, reason)
        seen = self.look(launch)
        is_gone = seen.state in (State.ENDED, State.ABSENT)
        return CheckRunHealthResult(WorkerStatus.FAILED if is_gone else WorkerStatus.RUNNING, seen.reason)

    def get_run_worker_debug_info(self, run: DagsterRun, include_container_logs: bool | None = True) -> str | None:
        """Returns the end of what the run's process printed."""
        log = self._log_of(run.run_id)
        if not include_container_logs or not log.exists():
            return None
        return f"{log}:\n{log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors='replace')}"

    def look(self, launch: Launch) -> LaunchStatus:
        """Looks for the launch's process, by its number and the lease in its environment."""
        self._reap()
        host, pid = launch.host or launch.name, launch.pid or int(launch.uid or 0)
        if launch.created is None and launch.acquired is None:
            return LaunchStatus(State.ABSENT, "no process was started for it")
        if host != socket.gethostname():
            return LaunchStatus(State.UNREACHABLE, f"its process is on {host}; only there can be said whether it is")
        try:
            if _is_there(pid, launch.lease_id):
                return LaunchStatus(State.RUNNING, f"process {pid} is there")
        except psutil.AccessDenied:
            return LaunchStatus(State.UNREACHABLE, f"process {pid} is another user's, who alone can say what it is")
        status = self._ended.get((launch.lease_id, pid))
        if status == -signal.SIGKILL:
            return LaunchStatus(
                State.ENDED, f"process {pid} was killed (out of memory, or somebody did)", OUT_OF_MEMORY
            )
        return LaunchStatus(State.ENDED, f"process {pid} is gone" + (f", with status {status}" if status else ""), DIED)

    def end(self, launch: Launch) -> None:
        """Interrupts the launch's process; kills it where it was asked long ago."""
        seen = self.look(launch)
        if seen.state is State.UNREACHABLE:
            raise RetryLater(seen.reason)
        if seen.state is State.RUNNING:
            is_overdue = launch.ending is not None and time.time() - launch.ending > _GRACE_SECONDS
            with suppress(ProcessLookupError):
                os.kill(launch.pid or int(launch.uid or 0), signal.SIGKILL if is_overdue else signal.SIGTERM)

    def orphans(self) -> Iterable[Orphan]:
        """Lists nothing: a process that is not its launch's any more ends by itself."""
        return ()

    def remove(self, orphan: Orphan) -> None:
        """Raises: none is listed, so none is to be removed."""
        raise NotImplementedError(orphan)

    def _launch_of(self, run_id: str) -> Launch | None:
        return Launches.of(self._instance).last(run_id)

    def _reap(self) -> None:
        """Lets ended processes of runs go; the log of one that ended well is not needed."""
        for pid, (launch, process) in list(self._children.items()):
            if process.poll() is None or self._children.pop(pid, None) is None:
                continue  # it goes on, or another thread has seen it
            self._ended[launch.lease_id, pid] = process.returncode
            now = Launches.of(self._instance).find(launch.id)
            if process.returncode == 0 and now is not None and not now.is_open:
                self._log_of(launch.work.run_id).unlink(missing_ok=True)

    def _log_of(self, run_id: str) -> Path:
        return Path(self._instance.root_directory) / "launchers" / f"{run_id}.log"


def _is_there(pid: int, lease_id: str) -> bool:
    """Whether this number is that of the launch's process: it may have been given to another since."""
    try:
        process = psutil.Process(pid)
        # A clock that is set would change when it seems to have started; its environment stays.
        return process.environ().get(LEASE_VARIABLE) == lease_id and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _step_resources_of(config: Config, _tags: Mapping[str, str]) -> StepResources:
    return StepResources(resources={"cores": config["cores"]} if "cores" in config else None)


BACKEND = BackendSpec(
    backend=lambda launcher, _launches, _timeouts: launcher,
    step_handler=lambda launcher, _backend: LocalSteps(launcher.cores, launcher.environment()),
    step_resources_of=_step_resources_of,
)
