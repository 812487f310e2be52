"""How do runs execute as processes of this machine, under the same names as on a cluster?"""

import json
import os
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
from dagster import DagsterRun, Field, IntSource, Map, StringSource
from dagster._core.launcher import (
    CheckRunHealthResult,
    LaunchRunContext,
    ResumeRunContext,
    RunLauncher,
    WorkerStatus,
)
from dagster._grpc.types import ExecuteRunArgs, ResumeRunArgs
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from ml_platform.errors import LaunchError
from ml_platform.launchers.kinds import Config, Kind, Place
from ml_platform.launchers.workers import Cores, LocalSteps, environment_with

_RUN = "ML_PLATFORM_RUN"  # in the environment of a run's process, by which it is known again
_LOG_TAIL_BYTES = 8_000


class LocalRunLauncher(RunLauncher[Any], ConfigurableClass):
    """Starts each run as a process of this machine: the local twin of a cluster's launcher.

    A run outlives whoever launched it; its health is that of its process, also when another process asks.

    Args:
        cores: how many cores a step owns, and so its threads; as many steps as fit run at once. None: all of them
            (or `OMP_NUM_THREADS`, where that is set).
        env: environment variables for runs and steps.
    """

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
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        super().__init__()

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """Gives what the instance's configuration says of this launcher."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Gives what `dagster.yaml` may say."""
        return {
            "cores": Field(IntSource, is_required=False, description="How many cores a step owns; by default all."),
            "env": Field(Map(str, StringSource), is_required=False, description="Variables for runs and steps."),
        }

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Config) -> "LocalRunLauncher":
        """Builds the launcher from `dagster.yaml`."""
        return cls(inst_data=inst_data, **config_value)

    def environment(self) -> dict[str, str]:
        """Gives the variables that make a process of this launcher's differ from this one."""
        return {**self.cores.environment(), **self.env}

    def launch_run(self, context: LaunchRunContext) -> None:
        """Starts the run's process."""
        run = context.dagster_run
        assert run.job_code_origin is not None, f"run {run.run_id} has no code to execute"
        args = ExecuteRunArgs(run.job_code_origin, run.run_id, self._instance.get_ref(), True)
        self._start(run, list(args.get_command_args()))

    @property
    def supports_resume_run(self) -> bool:
        """Steps that are done are not executed again by a run that goes on."""
        return True

    def resume_run(self, context: ResumeRunContext) -> None:
        """Starts another process for a run whose process died."""
        run = context.dagster_run
        assert run.job_code_origin is not None, f"run {run.run_id} has no code to execute"
        args = ResumeRunArgs(run.job_code_origin, run.run_id, self._instance.get_ref(), True)
        self._start(run, list(args.get_command_args()))

    def _start(self, run: DagsterRun, command: list[str]) -> None:
        self._reap()
        record = self._record_of(run.run_id)
        record.parent.mkdir(parents=True, exist_ok=True)
        with self._log_of(run.run_id).open("ab") as log:
            process = subprocess.Popen(  # noqa: S603  (Dagster's own command)
                command,
                env={**environment_with(self.environment()), _RUN: run.run_id},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._children[run.run_id] = process
        _write_record(record, process.pid)
        message = f"Started process {process.pid} for the run, on {self.cores}"
        self._instance.report_engine_event(message, run, cls=type(self))

    def terminate(self, run_id: str) -> bool:
        """Interrupts the run's process; the run ends its steps and says so itself."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        process, why = self._process_of(run_id)
        if process is None:
            self._instance.report_engine_event(f"Nothing to interrupt: {why}", run, cls=type(self))
            return False
        process.terminate()
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """A process that is gone is noticed."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Looks whether the run's process is there."""
        self._reap()
        process, why = self._process_of(run.run_id)
        return CheckRunHealthResult(*((WorkerStatus.RUNNING, None) if process else (WorkerStatus.FAILED, why)))

    def get_run_worker_debug_info(self, run: DagsterRun, include_container_logs: bool | None = True) -> str | None:
        """Gives the end of what the run's process printed."""
        log = self._log_of(run.run_id)
        if not include_container_logs or not log.exists():
            return None
        return f"{log}:\n{log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors='replace')}"

    def _process_of(self, run_id: str) -> tuple[psutil.Process | None, str]:
        """Finds the run's process, or says why there is none."""
        path = self._record_of(run_id)
        if not path.exists():
            return None, f"no process was started for it ({path} is not there)"
        record = json.loads(path.read_text())
        if record["host"] != socket.gethostname():
            raise LaunchError(f"its process runs on {record['host']}; ask there")
        try:
            process = psutil.Process(record["pid"])
            # A clock that is set would change when it seems to have started; its environment stays.
            is_same = process.environ().get(_RUN) == run_id and process.status() != psutil.STATUS_ZOMBIE
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            is_same = False  # or another user's: the number was given to somebody else
        gone = f"its process {record['pid']} is gone"
        return (process, "") if is_same else (None, gone)

    def _reap(self) -> None:
        """Lets ended processes of runs go; the log of one that ended well is not needed."""
        for run_id, process in list(self._children.items()):
            if process.poll() is None or self._children.pop(run_id, None) is None:
                continue  # it goes on, or another thread has seen it
            if process.returncode == 0:
                self._record_of(run_id).unlink(missing_ok=True)
                self._log_of(run_id).unlink(missing_ok=True)

    def _record_of(self, run_id: str) -> Path:
        return Path(self._instance.root_directory) / "launchers" / f"{run_id}.json"

    def _log_of(self, run_id: str) -> Path:
        return Path(self._instance.root_directory) / "launchers" / f"{run_id}.log"


def _write_record(path: Path, pid: int) -> None:
    """Writes which process a run is, whole or not at all."""
    staged = path.with_suffix(f".{os.getpid()}")
    staged.write_text(json.dumps({"pid": pid, "host": socket.gethostname()}))
    staged.replace(path)


def _place_of(config: Config, _tags: Mapping[str, str]) -> Place:
    return Place(resources={"cores": config["cores"]} if "cores" in config else None)


KIND = Kind(
    step_handler=lambda launcher: LocalSteps(launcher.cores, launcher.environment()),
    place_of=_place_of,
)
