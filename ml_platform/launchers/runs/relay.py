"""Serves, in the reconciler, the requests that runs queue to start, query or end steps on remote launchers."""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import dagster as dg

from ml_platform.compat.dagster import StepHandle, StepKind
from ml_platform.compat.dagster_steps import ExecuteStepArgs, StepHandlerContext
from ml_platform.databases import is_outage
from ml_platform.launchers.backends.protocol import RetryLater
from ml_platform.launchers.leases.schema import Launch
from ml_platform.launchers.runs.run_launcher import routing_launcher_of
from ml_platform.launchers.steps.remote_steps import CreatesSteps
from ml_platform.launchers.steps.requests import CREATE, Request, Requests

_LOOK_SECONDS = 1.0  # between two looks for requests
_TIDY_SECONDS = 60.0
_AT_ONCE = 8  # requests of one launcher that are being done


class Relay:
    """Does what runs' processes ask of launchers, some at a time for each: none waits for another.

    Args:
        tell: is told what went wrong around a request; it is tried again while somebody waits for it.

    Attributes:
        looked: when it last looked for requests, by `time.monotonic`.
    """

    def __init__(self, instance: dg.DagsterInstance, tell: Callable[[str], None]):
        self._instance = instance
        self._launcher = routing_launcher_of(instance)
        self._launches = self._launcher.starter.launches
        self._requests = Requests(self._launches)
        self._tell = tell
        self._creators: dict[str, CreatesSteps] = {}
        self._pools: defaultdict[str, ThreadPoolExecutor] = defaultdict(lambda: ThreadPoolExecutor(_AT_ONCE))
        self._under_way: dict[str, Future[None]] = {}
        self._tidied = 0.0
        self.looked = time.monotonic()

    @contextmanager
    def serving(self, every_seconds: float = _LOOK_SECONDS) -> Iterator[None]:
        """Serves requests in a thread until the block ends."""
        is_over = threading.Event()

        def go_on() -> None:
            while not is_over.wait(every_seconds):
                self.look()

        thread = threading.Thread(target=go_on, daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

    def serve(self) -> None:
        """Does all that is asked now, and waits until it is done."""
        self.look()
        wait(self._under_way.values())

    def look(self) -> None:
        """Starts on what is asked now, and returns at once."""
        self.looked = time.monotonic()
        try:
            if time.monotonic() - self._tidied > _TIDY_SECONDS:
                self._requests.forget_old()
                self._tidied = time.monotonic()
            self._under_way = {name: doing for name, doing in self._under_way.items() if not doing.done()}
            for request in self._requests.open():
                if request.id not in self._under_way:
                    self._under_way[request.id] = self._pools[request.launcher].submit(self._do, request)
        except Exception as error:  # noqa: BLE001  (a database that is away comes back)
            self._tell(f"requests: {type(error).__name__}: {error}")

    def _do(self, request: Request) -> None:
        try:
            self._requests.answer(request, self._answer_or_refusal(request))
        except Exception as error:  # noqa: BLE001  (nothing is known; it is tried again)
            self._tell(f"request about launch {request.launch_id}: {type(error).__name__}: {error}")

    def _answer_or_refusal(self, request: Request) -> Mapping[str, Any]:
        try:
            return self._answer(request)
        except RetryLater as retry_later:
            return {"busy": str(retry_later), "seconds": retry_later.seconds}
        except Exception as error:
            if is_outage(error):
                raise
            return {"refused": str(error) or type(error).__name__}

    def _answer(self, request: Request) -> Mapping[str, Any]:
        launch = self._launches.get(request.launch_id)
        if request.kind != CREATE:
            seen = self._launcher.starter.look(launch)
            return {"state": seen.state.value, "reason": seen.reason, "outcome": seen.outcome}
        run = self._instance.get_run_by_id(launch.work.run_id)
        # The request may be old, or done already by another reconciler: the launch as it is now decides.
        begun = (launch.created, launch.acquired, launch.ending, launch.released)
        is_past = any(moment is not None for moment in begun)
        is_wanted = run is not None and not run.is_finished and run.status is not dg.DagsterRunStatus.CANCELING
        if is_wanted and not is_past and launch.fencing_token == request.fencing_token:
            self.creator_of(launch.launcher).create(launch, self._context(launch, request))
        return {}

    def creator_of(self, launcher: str) -> CreatesSteps:
        """Returns what creates steps on a launcher, set up once.

        Raises:
            LaunchError: it cannot be set up.
        """
        if launcher not in self._creators:
            self._creators[launcher] = self._launcher.creator_of(launcher)
        return self._creators[launcher]

    def _context(self, launch: Launch, request: Request) -> StepHandlerContext:
        args = dg.deserialize_value(request.given["args"], ExecuteStepArgs)
        # Whoever's code runs in the pod can write any request: it may start its own step and no other.
        if (args.run_id, list(args.step_keys_to_execute or ())) != (launch.work.run_id, [launch.work.step]):
            raise ValueError(f"the request is not about {launch.work}")
        return _RequestedStep(self._instance, args, request.given["tags"])


class _RequestedStep(StepHandlerContext):
    """Stands for a step whose plan is in another process: what a creator of steps needs of it."""

    def __init__(self, instance: dg.DagsterInstance, args: ExecuteStepArgs, tags: Mapping[str, str]):
        plan: Any = None
        super().__init__(instance, plan, [], args)
        self._tags = tags

    @property
    def step_tags(self) -> Mapping[str, Mapping[str, str]]:
        """Returns the step's tags."""
        (step_key,) = self.execute_step_args.step_keys_to_execute or ()
        return {step_key: self._tags}

    def get_step_context(self, step_key: str) -> Any:
        """Returns what Dagster's events say of a step, and a log that takes them."""
        handle = StepHandle.parse_from_key(step_key)
        node = handle.node_handle
        step = {"key": step_key, "handle": handle, "node_handle": node, "kind": StepKind.COMPUTE, "op_name": node.name}
        log = SimpleNamespace(log_dagster_event=self._report)
        return SimpleNamespace(job_name=self.dagster_run.job_name, step=SimpleNamespace(**step), event_tags={}, log=log)

    def _report(self, level: str | int, msg: str, dagster_event: dg.DagsterEvent, batch_metadata: Any = None) -> None:
        self._instance.report_dagster_event(dagster_event, self.dagster_run.run_id, logging.DEBUG)
