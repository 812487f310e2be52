"""Executes steps in local processes forked from a preloaded server, each with CPU cores of its own."""

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.forkserver import ensure_running
from multiprocessing.process import BaseProcess

from dagster import DagsterEvent, DagsterInstance, DagsterRun, deserialize_value, serialize_value

from ml_platform.compat.dagster import ConfigurableClassData, ExecutionPlan, capture_interrupts, replace
from ml_platform.compat.dagster_steps import (
    MODULES_OF_STEPS,
    CheckStepHealthResult,
    ExecuteStepArgs,
    StepHandler,
    StepHandlerContext,
    plan_context_of,
    step_command_body,
)
from ml_platform.launchers.leases import lease
from ml_platform.launchers.leases.meter import metered
from ml_platform.launchers.leases.schema import DIED, OUT_OF_MEMORY, Work, work_of

_GRACE_SECONDS = 10.0
_BEFORE = "ML_PLATFORM_VARIABLES_BEFORE"  # what a launcher's variables stand over in its processes, as JSON
_PRELOADED = (
    *MODULES_OF_STEPS,
    "alembic.command", "fsspec.implementations.local", "sqlalchemy.dialects.sqlite", "upath.implementations.local",
)  # fmt: skip


def _variables_before() -> dict[str, str | None]:
    """Returns what stood where the launcher of this process put its variables; None where nothing did."""
    found: dict[str, str | None] = json.loads(os.environ.get(_BEFORE, "{}"))
    return found


def environment_with(variables: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment of a launcher's process: this one's without what its own launcher put there."""
    plain = {**os.environ, **_variables_before(), _BEFORE: None}
    before = {name: plain.get(name) for name in variables}
    restorable = {_BEFORE: json.dumps(before, sort_keys=True)} if before else {}
    return {name: value for name, value in {**plain, **restorable, **variables}.items() if value is not None}


def computes_alike(variables: Mapping[str, str]) -> bool:
    """Whether a launcher's processes have the environment of this one, threads that nobody set included."""
    mine = {**Cores().environment(), **os.environ}
    theirs = environment_with(variables)
    return all(mine.get(name) == value for name, value in theirs.items() if name != _BEFORE)


@dataclass(frozen=True)
class Cores:
    """The cores that a step owns.

    Attributes:
        each: how many; None for all that this process may use, or as many as `OMP_NUM_THREADS` says.
    """

    each: int | None = None

    def environment(self) -> dict[str, str]:
        """Returns the variables that hold numeric libraries to these cores.

        With more threads than cores they would wait for each other; waiting passively costs a busy neighbour less.
        """
        return {"OMP_NUM_THREADS": self.threads, "OMP_WAIT_POLICY": "passive"}

    @property
    def threads(self) -> str:
        """Returns how many threads compute, whichever launcher this process is on."""
        given = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"), **_variables_before()}["OMP_NUM_THREADS"]
        return str(self.each) if self.each else given or str(_usable_cores())

    @property
    def steps_at_once(self) -> int:
        """Returns how many steps fit on this machine at a time."""
        return max(1, _usable_cores() // self.each) if self.each else 1

    def __str__(self) -> str:
        return f"{self.threads} {'core' if self.threads == '1' else 'cores'}"


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def work_in(context: StepHandlerContext) -> Work:
    """Names the step that a handler is asked about, and the assets that it makes."""
    return work_of_step(plan_context_of(context).execution_plan, context.dagster_run, key_of(context))


def work_of_step(plan: ExecutionPlan, run: DagsterRun, step_key: str) -> Work:
    """Names a step of a plan and the assets that it makes."""
    outputs = plan.get_step_by_key(step_key).step_outputs
    keys = [one.properties.asset_key for one in outputs if one.properties.asset_key is not None]
    return work_of(run, step_key, [key.to_user_string() for key in keys])


def retries_in(args: ExecuteStepArgs) -> Callable[[str], int]:
    """Returns a function from a step's key to how often it was tried before."""
    known_state = args.known_state
    return known_state.get_retry_state().get_attempt_count if known_state is not None else lambda _: 0


def key_of(context: StepHandlerContext) -> str:
    """Names the step that a handler is asked about."""
    (step_key,) = context.execute_step_args.step_keys_to_execute or ()
    return step_key


class LocalSteps(StepHandler):
    """Runs steps in processes forked from a server that has imported what they need, so many at once as fit.

    Args:
        cores: what each step owns.
        variables: what a launcher puts into the environment; None if they are to have this process's own.
    """

    def __init__(self, cores: Cores, variables: Mapping[str, str] | None = None):
        self._cores = cores
        self._variables = variables
        self.launcher: str | None = None  # whose steps these are; None: of the run's own launcher
        self._waiting: dict[str, tuple[ExecuteStepArgs, Work]] = {}
        self._processes: dict[str, BaseProcess] = {}
        self._unstarted: dict[str, str] = {}
        self._found_dead: set[str] = set()
        self._ended: list[BaseProcess] = []

    @property
    def name(self) -> str:
        """Names the handler in a run's log."""
        return "LocalSteps"

    def launch_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        """Puts a step in line; it starts as soon as there are cores for it."""
        step_key = key_of(step_handler_context)
        context = step_handler_context.get_step_context(step_key)
        yield DagsterEvent.step_worker_starting(
            context, f"Starting a process for step {step_key} on {self._cores}.", {}
        )
        # This process alone starts it: nobody else may have, so there is nothing to verify.
        args = replace(step_handler_context.execute_step_args, should_verify_step=False)
        self._waiting[step_key] = args, work_in(step_handler_context)
        self.reconcile()

    def reconcile(self) -> None:
        """Starts waiting steps while there are cores for them, and lets go of processes that are over."""
        for process in [one for one in self._ended if not one.is_alive()]:
            self._ended.remove(process)
            process.close()
        alive = sum(process.is_alive() for process in self._processes.values())
        while self._waiting and alive < self._cores.steps_at_once:
            step_key = next(iter(self._waiting))
            self._start(step_key, *self._waiting.pop(step_key))
            alive += 1

    def _start(self, step_key: str, args: ExecuteStepArgs, work: Work) -> None:
        self.forget(step_key)
        environment = None if self._variables is None else environment_with(self._variables)
        server = multiprocessing.get_context("forkserver")
        arguments = (serialize_value(args), environment, work, self.launcher)
        process = server.Process(target=execute_step, args=arguments, daemon=False)
        try:
            process.start()
            self._processes[step_key] = process
        except OSError as error:
            self._unstarted[step_key] = f"its process could not be started: {error}"

    def forget(self, step_key: str) -> None:
        """Drops a step that has ended, or will be tried again."""
        self._found_dead.discard(step_key)
        self._unstarted.pop(step_key, None)
        process = self._processes.pop(step_key, None)
        if process is not None:
            self._ended.append(process)

    def check_step_health(self, step_handler_context: StepHandlerContext) -> CheckStepHealthResult:
        """Says whether a step waits, runs, or has just ended; unhealthy if its process ended and the step did not."""
        step_key = key_of(step_handler_context)
        if step_key in self._waiting:
            return CheckStepHealthResult.healthy()
        process = self._processes.get(step_key)
        if process is None:
            return CheckStepHealthResult.unhealthy(self._unstarted.get(step_key, "no process of this run executes it"))
        # Dead at two looks in a row: at the first its last events may not have been read yet.
        if process.is_alive() or step_key not in self._found_dead:
            # Events that it wrote before it ended are read between this look and the next.
            self._found_dead |= set() if process.is_alive() else {step_key}
            return CheckStepHealthResult.healthy()
        return CheckStepHealthResult.unhealthy(_how_it_ended(process))

    def terminate_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        """Interrupts a step, and kills it if it does not end."""
        step_key = key_of(step_handler_context)
        self._waiting.pop(step_key, None)
        process = self._processes.get(step_key)
        if process is not None and process.is_alive():
            process.terminate()
            process.join(_GRACE_SECONDS)
            process.kill()
            process.join()
        yield from ()

    def outcome_of(self, step_key: str) -> str:
        """Says how a step's process ended: killed as one that is out of memory is, or otherwise."""
        process = self._processes.get(step_key)
        return OUT_OF_MEMORY if process is not None and process.exitcode == -signal.SIGKILL else DIED

    def kill(self) -> None:
        """Ends all processes at once, so that none writes another event."""
        for process in (*self._processes.values(), *self._ended):
            process.kill()
            process.join()


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
        code: the module of the definitions. None where a step may have another environment than this process: what
            that module imports would be set up before.
    """
    # Only before the server starts can it be said what it imports; each fork has all of it at once then.
    parts = instance.get_ref()._asdict().values()
    storages = [part.module_name for part in parts if isinstance(part, ConfigurableClassData)]
    modules = [__name__, *_PRELOADED, *storages, *([code] if code else [])]
    multiprocessing.get_context("forkserver").set_forkserver_preload(modules)
    ensure_running()


def execute_step(args: str, environment: Mapping[str, str] | None, work: Work, launcher: str | None) -> None:
    """Executes one step in a fresh process, as Dagster's own command for it does."""
    execute = step_command_body()
    if environment is not None:
        os.environ.clear()
        os.environ.update(environment)
    threading.Thread(target=_end_with_the_run, daemon=True).start()
    step = deserialize_value(args, ExecuteStepArgs)
    assert step.instance_ref is not None, "a step's process needs an instance that others can open"
    with capture_interrupts(), DagsterInstance.from_ref(step.instance_ref) as instance:
        run = instance.get_run_by_id(step.run_id)
        assert run is not None, f"run {step.run_id} is gone"
        lease.inherit(instance)
        for _ in metered(execute(step, instance, run), lambda _: work, retries_in(step), launcher):
            pass


def _end_with_the_run() -> None:
    """Ends this process at once when the run's is gone: nobody would look after it.

    Not by an interrupt, which the step would report as its failure into a run that another process may go on with.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None, "a step's process is started by its run's"
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGKILL)
