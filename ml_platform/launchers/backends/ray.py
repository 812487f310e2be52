"""Submits runs and steps as jobs of a Ray cluster, each exactly once, and asks what became of them."""

import json
import re
import shlex
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from dagster import DagsterEvent, DagsterRun, MetadataValue
from dagster_ray import RayRunLauncher

from ml_platform.compat.dagster import ResumeRunContext, instance_of, replace
from ml_platform.compat.dagster_ray import RayExecutionConfig, resolve_env_vars_list
from ml_platform.compat.dagster_steps import ExecuteRunArgs, ResumeRunArgs, StepHandlerContext
from ml_platform.errors import LaunchError
from ml_platform.launchers.backends.local_steps import key_of
from ml_platform.launchers.backends.protocol import Context, LaunchStatus, Orphan, RetryLater, State, Timeouts
from ml_platform.launchers.backends.registry import BackendSpec, Config, StepResources
from ml_platform.launchers.leases.lease import leased_command
from ml_platform.launchers.leases.schema import DIED, ENDED, EVICTED, OUT_OF_MEMORY, Launch, digest_of
from ml_platform.launchers.leases.table import Launches

_TIMEOUT_SECONDS = (5.0, 30.0)  # for connecting, for an answer
_WAITS = (401, 403, 408, 429)  # and 5xx; whoever keeps tokens can mend the first two
_KILLED = (-9, 137)  # the job's command itself, or as its shell says it
_NODE_DIED = "its node has died"  # in Ray's words for why what runs a job's command is gone
_LOG_TAIL_CHARACTERS = 8_000
_LAUNCH, _FENCING_TOKEN, _INSTANCE = "ml-platform/launch", "ml-platform/generation", "ml-platform/instance"
_SPEC = "ml-platform/spec"  # the digest of what was to be submitted
# Else Ray kills a job three seconds after it asked it to stop, before a run has ended its steps.
_STOPPING = {"RAY_JOB_STOP_WAIT_TIME_S": "30"}


class _Answer(RuntimeError):
    """An answer of the job server that is no success."""

    def __init__(self, status: int, text: str):
        super().__init__(f"{_last_line(text)} ({status})")
        self.status = status
        self.text = text


class RayBackend:
    """Submits jobs for launches to the cluster, and with the settings, of one of dagster-ray's launchers.

    A job is named after its launch, and Ray takes a name once.
    """

    acquires_lease = True

    def __init__(self, launcher: RayRunLauncher, launches: Launches, timeouts: Timeouts):
        self._launcher = launcher
        self._launches = launches
        self._quiet_seconds = timeouts.grace_seconds
        self._client_class = _client_class()
        # Its own would put the values of all variables into the run's log.
        launcher.get_run_worker_debug_info = self._debug_info  # type: ignore[method-assign]

    @cached_property
    def _client(self) -> Any:
        """Ray's client, which connects when it is made."""
        launcher = self._launcher
        return self._client_class(
            launcher.address, metadata=launcher.metadata, headers=launcher.headers, cookies=launcher.cookies
        )

    def start(self, launch: Launch, context: Context) -> None:
        """Submits the run's job, or finds the one that was submitted for the same launch."""
        run = context.dagster_run
        assert run.job_code_origin is not None, f"run {run.run_id} has no code to execute"
        args = ResumeRunArgs if isinstance(context, ResumeRunContext) else ExecuteRunArgs
        command = args(run.job_code_origin, run.run_id, instance_of(self._launcher).get_ref(), True).get_command_args()
        if self.submit(launch, command, run.tags):
            message = f"Ray has the run as job {_name_of(launch)}"
            instance_of(self._launcher).report_engine_event(message, run, cls=type(self._launcher))

    def submit(self, launch: Launch, command: Sequence[str], tags: Mapping[str, str]) -> bool:
        """Submits a command that takes the lease first; False if the launch is past it.

        Args:
            tags: of the run or the op: what `dagster-ray/config` says there stands over the launcher's settings.

        Raises:
            RetryLater: not now; the launch is to be put off, as nobody knows whether the job was taken.
            LaunchError: never like this: a refusal, or a job of this name that is another.
        """
        job = self._job_of(launch, command, tags)
        spec = digest_of([json.dumps(job, sort_keys=True)])
        if not self._launches.specify(launch, spec, job["submission_id"], None, job["entrypoint_num_gpus"] or 0.0):
            now = self._launches.get(launch.id)
            if now.is_open and now.acquired is None and now.fencing_token == launch.fencing_token:
                raise RetryLater("it was about to be started with other settings")
            return False  # it is at work, over, or put off by somebody else
        job["metadata"][_SPEC] = spec
        try:
            self._client.submit_job(**job)
        except _Answer as answer:
            self._require_same(job["submission_id"], spec, answer)
        except OSError as error:
            raise RetryLater(_describe(error)) from error
        return self._launches.created(launch, job["submission_id"])

    def _job_of(self, launch: Launch, command: Sequence[str], tags: Mapping[str, str]) -> dict[str, Any]:
        launcher, own = self._launcher, RayExecutionConfig.from_tags(tags)
        runtime_env = dict(own.runtime_env or launcher.runtime_env or {})
        variables = {**_STOPPING, **resolve_env_vars_list(launcher.env_vars), **runtime_env.get("env_vars", {})}
        return {
            "submission_id": _name_of(launch),
            # Ray stops the shell that runs this; by `exec` that is the process itself.
            "entrypoint": "exec " + shlex.join(leased_command(command, launch.lease_id)),
            "runtime_env": {**runtime_env, "env_vars": variables},
            "entrypoint_num_cpus": own.num_cpus or launcher.num_cpus,
            "entrypoint_num_gpus": own.num_gpus or launcher.num_gpus,
            "entrypoint_memory": own.memory or launcher.memory,
            "entrypoint_resources": own.resources or launcher.resources,
            "metadata": {
                _LAUNCH: launch.id,
                _FENCING_TOKEN: str(launch.fencing_token),
                _INSTANCE: self._instance_id,
                "work": str(launch.work),
                "job": launch.work.job,
            },
        }

    def _require_same(self, name: str, spec: str, answer: _Answer) -> None:
        """Goes on after a submission that was refused only if that is because it had been taken before."""
        # Looked for whatever the answer was: Ray refuses a name that it has, and an error may follow a submission.
        with _asking():
            found = self._job(name)
        if found is None and (answer.status in _WAITS or answer.status >= 500):
            raise RetryLater(str(answer)) from answer
        if found is None:
            raise LaunchError(f"Ray refuses job {name}: {answer}") from answer
        if (found.metadata or {}).get(_SPEC) != spec:
            raise LaunchError(
                f"Ray has a job {name} that is not what would be submitted (digest {spec[:12]}, found "
                f"{(found.metadata or {}).get(_SPEC, 'none')[:12]}); look whose it is, stop it and launch again"
            ) from answer

    def look(self, launch: Launch) -> LaunchStatus:
        """Looks for the job; a job server that does not answer, or not as Ray does, says nothing about it."""
        if launch.name is None:
            return LaunchStatus(State.ABSENT, "nothing was submitted for it")
        try:
            job = self._job(launch.name)
        except (RuntimeError, OSError) as error:
            return LaunchStatus(State.UNREACHABLE, _describe(error))
        return self._without_job(launch) if job is None else _seen(launch, job)

    def _without_job(self, launch: Launch) -> LaunchStatus:
        """Judges a launch whose job Ray does not know: a cluster's head that was started anew has forgotten all."""
        last = launch.renewed or launch.created
        message = f"Ray does not know job {launch.name}"
        if last is not None and launch.ending is None and time.time() - last < self._quiet_seconds:
            return LaunchStatus(State.UNREACHABLE, f"{message}, though it was heard of {time.time() - last:.0f} s ago")
        return LaunchStatus(State.ABSENT, message)

    def end(self, launch: Launch) -> None:
        """Stops the job."""
        if launch.name is not None:
            self._stop(launch.name)

    def orphans(self) -> Iterable[Orphan]:
        """Lists the jobs of this instance's launches that are not over."""
        with _asking():
            jobs = self._client.list_jobs()
        for job in jobs:
            metadata = job.metadata or {}
            if metadata.get(_INSTANCE) == self._instance_id and job.submission_id and not job.status.is_terminal():
                yield Orphan(metadata[_LAUNCH], int(metadata[_FENCING_TOKEN]), job.submission_id, "", job.submission_id)

    def remove(self, orphan: Orphan) -> None:
        """Stops a job that no launch needs."""
        self._stop(orphan.name)

    @property
    def _instance_id(self) -> str:
        storage: Any = instance_of(self._launcher).run_storage
        return str(storage.get_run_storage_id())

    def _job(self, name: str) -> Any:
        try:
            return self._client.get_job_info(name)
        except _Answer as answer:
            if _says_that_there_is_none(answer, name):
                return None
            raise

    def _stop(self, name: str) -> None:
        with _asking():
            try:
                self._client.stop_job(name)
            except _Answer as answer:
                if not _says_that_there_is_none(answer, name):
                    raise

    def _debug_info(self, run: DagsterRun, include_container_logs: bool | None = True) -> str | None:
        """Returns the end of what the run's job printed."""
        launch = self._launches.last(run.run_id)
        if launch is None or launch.name is None or not include_container_logs:
            return None
        try:
            printed = self._client.get_job_logs(launch.name)
        except (RuntimeError, OSError) as error:
            return f"what job {launch.name} printed cannot be had: {_describe(error)}"
        return f"job {launch.name}:\n{_without_command(printed)[-_LOG_TAIL_CHARACTERS:]}"


class RaySteps:
    """Submits steps as jobs of one Ray cluster."""

    def __init__(self, _launcher: RayRunLauncher, backend: RayBackend):
        self.backend = backend

    def create(self, launch: Launch, context: StepHandlerContext) -> Sequence[DagsterEvent]:
        """Submits the job of a step's launch, or finds the one that was submitted for it."""
        step_key, name = key_of(context), _name_of(launch)
        # The launch decides who executes the step; Dagster's own look at what was started would refuse another try.
        args = replace(context.execute_step_args, should_verify_step=False)
        if not self.backend.submit(launch, args.get_command_args(), context.step_tags[step_key]):
            return []
        message = f"Step {step_key} is with Ray as job {name}."
        metadata = {"Ray job": MetadataValue.text(name)}
        return [DagsterEvent.step_worker_starting(context.get_step_context(step_key), message, metadata)]


def _client_class() -> type[Any]:
    """Returns Ray's client of the job server, which waits for no answer for ever, and tells how one failed."""
    try:
        from ray.exceptions import AuthenticationError
        from ray.job_submission import JobSubmissionClient
    except ImportError as error:
        raise LaunchError(f"Ray cannot be imported here ({error}); pip install 'ml_platform[ray]'") from error

    class Client(JobSubmissionClient):
        def _do_request(self, *arguments: Any, **named: Any) -> Any:
            try:
                return super()._do_request(*arguments, timeout=_TIMEOUT_SECONDS, **named)
            except AuthenticationError as error:
                raise _Answer(401, str(error)) from error

        def _raise_error(self, r: Any) -> None:
            # What a job's node says to the cluster's head comes back as a failure (500) of the head's.
            passed_on = re.findall(r"Request failed with status code (\d+)", r.text)
            raise _Answer(int(passed_on[-1]) if passed_on else r.status_code, r.text)

    return Client


@contextmanager
def _asking() -> Iterator[None]:
    """Takes an answer that says nothing for one that may come later."""
    try:
        yield
    except (RuntimeError, OSError) as error:
        raise RetryLater(_describe(error)) from error


def _says_that_there_is_none(answer: _Answer, name: str) -> bool:
    """Whether Ray says so: what stands in front of it may answer 404 while it is away."""
    return answer.status == 404 and f"Job {name} does not exist" in answer.text


def _seen(launch: Launch, job: Any) -> LaunchStatus:
    """Says what Ray's words for a job mean."""
    name, status = launch.name, str(job.status)
    if status == "PENDING" and launch.ending is not None and launch.acquired is None:
        return LaunchStatus(
            State.UNREACHABLE, f"job {name} waits for the cluster's resources; once begun, it would get no lease"
        )
    if not job.status.is_terminal():
        return LaunchStatus(State.RUNNING, f"job {name} is {status.lower()}")
    if status == "SUCCEEDED":
        return LaunchStatus(State.ENDED, f"job {name} succeeded", ENDED)
    if status == "STOPPED":
        return LaunchStatus(State.ENDED, f"job {name} was stopped")
    return _failed(f"job {name}", job)


def _failed(job_name: str, job: Any) -> LaunchStatus:
    """Says how a job failed: its command, or what Ray has around it."""
    message = _without_command(job.message or "")
    if job.driver_exit_code in _KILLED:
        return LaunchStatus(State.ENDED, f"{job_name} was killed (out of memory, or somebody did)", OUT_OF_MEMORY)
    if job.driver_exit_code is not None:
        return LaunchStatus(State.ENDED, f"{job_name} ended with status {job.driver_exit_code}: {_last_line(message)}")
    return LaunchStatus(
        State.ENDED, f"{job_name} failed: {_last_line(message)}", EVICTED if _NODE_DIED in message else DIED
    )


def _name_of(launch: Launch) -> str:
    return f"ml-platform-{launch.id}-{launch.fencing_token}"


def _without_command(printed: str) -> str:
    """Drops the command from what a job printed: Ray prints it first, and the instance's settings stand in it."""
    return "\n".join(line for line in printed.splitlines() if not line.startswith("Running entrypoint for job "))


def _last_line(text: str) -> str:
    """Returns what a server said at last, in a line; Ray answers with whole tracebacks."""
    lines = [line.strip() for line in text.splitlines() if line.strip(" .")]
    return lines[-1][:500] if lines else ""


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {_last_line(str(error))}" if isinstance(error, OSError) else str(error)


def _step_resources_of(config: Config, tags: Mapping[str, str]) -> StepResources:
    """Says what a step's job would hold of the cluster; none is asked."""
    ray: Mapping[str, Any] = config.get("ray", {})
    own = RayExecutionConfig.from_tags(tags)
    named = ("num_cpus", "num_gpus", "memory", "resources")
    asked = {name: getattr(own, name) or ray.get(name) for name in named}
    return StepResources(resources={name: value for name, value in asked.items() if value} or None)


BACKEND = BackendSpec(backend=RayBackend, step_handler=RaySteps, step_resources_of=_step_resources_of)
