"""How does a step run in a process of its own on this machine, started in a moment?"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.forkserver import ensure_running
from multiprocessing.process import BaseProcess

from dagster import DagsterEvent, DagsterInstance
from dagster._core.executor.step_delegating import CheckStepHealthResult, StepHandler, StepHandlerContext
from dagster._grpc.types import ExecuteStepArgs
from dagster._serdes import ConfigurableClassData, deserialize_value, serialize_value
from dagster_shared.record import replace

_GRACE_SECONDS = 10.0
_PRELOADED = (
    "dagster._cli.api", "dagster._core.instance.factory", "dagster._core.storage.migration",
    "dagster._core.storage.upath_io_manager", "dagster._core.workspace.autodiscovery",
    "alembic.command", "fsspec.implementations.local", "sqlalchemy.dialects.sqlite", "upath.implementations.local",
)  # fmt: skip


@dataclass(frozen=True)
class Cores:
    """The cores that a step owns.

    Attributes:
        each: how many; None for all that this process may use, or as many as `OMP_NUM_THREADS` says.
    """

    each: int | None = None

    def environment(self) -> dict[str, str]:
        """Gives the variables that hold numeric libraries to these cores.

        With more threads than cores they would wait for each other; waiting passively costs a busy neighbour less.
        """
        threads = str(self.each) if self.each else os.environ.get("OMP_NUM_THREADS") or str(_usable_cores())
        return {"OMP_NUM_THREADS": threads, "OMP_WAIT_POLICY": "passive"}

    @property
    def steps_at_once(self) -> int:
        """How many steps fit on this machine."""
        return max(1, _usable_cores() // self.each) if self.each else 1

    def __str__(self) -> str:
        threads = int(self.environment()["OMP_NUM_THREADS"])
        return f"{threads} core{'s' if threads > 1 else ''}"


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def key_of(context: StepHandlerContext) -> str:
    """Names the step that a handler is asked about."""
    (step_key,) = context.execute_step_args.step_keys_to_execute or ()
    return step_key


@dataclass
class _Waiting:
    step_key: str
    args: ExecuteStepArgs


@dataclass
class LocalSteps(StepHandler):
    """Runs steps in processes forked from a server that has imported what they need, so many at once as fit.

    Args:
        cores: what each step owns.
        variables: what its environment adds to this process's.
    """

    cores: Cores = field(default_factory=Cores)
    variables: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._processes: dict[str, BaseProcess] = {}
        self._found_dead: set[str] = set()

    @property
    def name(self) -> str:
        """Names the handler in a run's log."""
        return "LocalSteps"

    def launch_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        """Puts a step in line; it starts as soon as there are cores for it."""
        step_key = key_of(step_handler_context)
        context = step_handler_context.get_step_context(step_key)
        yield DagsterEvent.step_worker_starting(context, f"Starting a process for step {step_key} on {self.cores}.", {})
        # This process alone starts it: nobody else may have, so there is nothing to verify.
        args = replace(step_handler_context.execute_step_args, should_verify_step=False)
        self._waiting.append(_Waiting(step_key, args))
        self.tend()

    def tend(self) -> None:
        """Starts waiting steps while there are cores for them."""
        alive = sum(process.is_alive() for process in self._processes.values())
        while self._waiting and alive < self.cores.steps_at_once:
            waiting = self._waiting.pop(0)
            self._processes[waiting.step_key] = self._start(waiting.args)
            self._found_dead.discard(waiting.step_key)
            alive += 1

    def _start(self, args: ExecuteStepArgs) -> BaseProcess:
        server = multiprocessing.get_context("forkserver")
        variables = {**self.cores.environment(), **self.variables}
        process = server.Process(target=execute_step, args=(serialize_value(args), variables), daemon=False)
        process.start()
        return process

    def check_step_health(self, step_handler_context: StepHandlerContext) -> CheckStepHealthResult:
        """Says whether a step waits, runs, or has just ended; unhealthy if its process ended and the step did not."""
        step_key = key_of(step_handler_context)
        if any(waiting.step_key == step_key for waiting in self._waiting):
            return CheckStepHealthResult.healthy()
        process = self._processes.get(step_key)
        if process is None:
            return CheckStepHealthResult.unhealthy("no process of this run executes it")
        if process.is_alive() or step_key not in self._found_dead:
            # Events that it wrote before it ended are read between this look and the next.
            self._found_dead |= set() if process.is_alive() else {step_key}
            return CheckStepHealthResult.healthy()
        return CheckStepHealthResult.unhealthy(_how_it_ended(process))

    def terminate_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        """Interrupts a step, and kills it if it does not end."""
        step_key = key_of(step_handler_context)
        self._waiting = [waiting for waiting in self._waiting if waiting.step_key != step_key]
        process = self._processes.get(step_key)
        if process is not None and process.is_alive():
            process.terminate()
            process.join(_GRACE_SECONDS)
            process.kill()
            process.join()
        yield from ()


def _how_it_ended(process: BaseProcess) -> str:
    code = process.exitcode or 0
    if code < 0:
        hint = " (out of memory, or somebody killed it)" if code == -signal.SIGKILL else ""
        return f"process {process.pid} was ended by {signal.Signals(-code).name}{hint}"
    return f"process {process.pid} ended with status {code} without saying how the step ended"


def warm_up(instance: DagsterInstance, code: str | None) -> None:
    """Starts the server that step processes are forked from; it imports while the run's process goes on.

    Imports only: no computing, no open connection, which a fork would break.

    Args:
        code: the module of the definitions.
    """
    storages = [
        part.module_name for part in instance.get_ref()._asdict().values() if isinstance(part, ConfigurableClassData)
    ]
    code_modules = [code] if code else []
    multiprocessing.get_context("forkserver").set_forkserver_preload([__name__, *_PRELOADED, *storages, *code_modules])
    ensure_running()


def execute_step(args: str, variables: Mapping[str, str]) -> None:
    """Executes one step in a fresh process, as Dagster's own command for it does."""
    from dagster._cli.api import _execute_step_command_body
    from dagster._utils.interrupts import capture_interrupts

    os.environ.update(variables)
    threading.Thread(target=_end_with_the_run, daemon=True).start()
    step = deserialize_value(args, ExecuteStepArgs)
    assert step.instance_ref is not None, "a step's process needs an instance that others can open"
    with capture_interrupts(), DagsterInstance.from_ref(step.instance_ref) as instance:
        run = instance.get_run_by_id(step.run_id)
        assert run is not None, f"run {step.run_id} is gone"
        for _ in _execute_step_command_body(step, instance, run):
            pass


def _end_with_the_run() -> None:
    """Ends this process when the run's is gone: nobody would look after it."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "a step's process is started by its run's"
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
