"""Creates the Kubernetes job of a launch exactly once, and asks the cluster what became of it."""

import hashlib
import json
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from kubernetes.client import ApiException, V1EnvVar, V1Job  # type: ignore[import-untyped]
from urllib3.exceptions import HTTPError

from ml_platform.compat.dagster import ResumeRunContext, instance_of
from ml_platform.compat.dagster_k8s import client_of, put_client, report_no_creation
from ml_platform.errors import LaunchError
from ml_platform.launchers.backends.protocol import Context, LaunchStatus, Orphan, RetryLater, State, Timeouts
from ml_platform.launchers.leases.lease import LEASE_VARIABLE, lease_prefix
from ml_platform.launchers.leases.schema import DIED, ENDED, EVICTED, OUT_OF_MEMORY, Launch
from ml_platform.launchers.leases.table import Launches

# Labels and annotations keep their names: jobs that a version before has created are found by them.
LAUNCH_LABEL = "ml-platform/launch"
_INSTANCE_LABEL, _FENCING_TOKEN = "ml-platform/instance", "ml-platform/generation"
_SPEC = "ml-platform/spec"  # an annotation: the digest of what was to be created
_TIMEOUT_SECONDS = (5.0, 10.0)  # for connecting, for an answer
_DEADLINE_SECONDS = 7 * 24 * 3600  # of a job whose configuration names none: nothing stays for ever
_WAITS = (401, 408, 409, 425, 429)  # and 5xx; some clusters answer 401 while their tokens turn over
_DISRUPTED = ("Evicted", "Preempting", "Preempted", "NodeLost", "NodeShutdown", "Shutdown", "Terminated")


class JobBackend:
    """Starts jobs for launches in the namespace and with the settings of one of Dagster's Kubernetes launchers."""

    acquires_lease = True

    def __init__(self, launcher: Any, launches: Launches, timeouts: Timeouts):
        self._launcher = launcher
        self._launches = launches
        self._quiet_seconds = timeouts.grace_seconds
        self.client = FencedClient(client_of(launcher), launches, _instance_label(launcher))
        put_client(launcher, self.client)
        # Its two events a try would say nothing that the launch's own do not.
        report_no_creation(launcher)

    def start(self, launch: Launch, context: Context) -> None:
        """Creates the run's job, or finds the one that was created for the same launch."""
        with self.client.creating(launch):
            if isinstance(context, ResumeRunContext):
                self._launcher.resume_run(context)
            else:
                self._launcher.launch_run(context)

    def look(self, launch: Launch) -> LaunchStatus:
        """Looks for the job, and for its pods once it is over."""
        if launch.name is None:
            return LaunchStatus(State.ABSENT, "nothing was created for it")
        try:
            return self._look(launch, launch.name)
        except (ApiException, HTTPError, OSError) as error:
            return LaunchStatus(State.UNREACHABLE, _describe(error))

    def _look(self, launch: Launch, name: str) -> LaunchStatus:
        job = self._job(name, launch.namespace)
        pods = self._pods(launch)
        if job is None or (launch.uid is not None and job.metadata.uid != launch.uid):
            return self._without_job(launch, name, pods)
        found = {one.type: one for one in job.status.conditions or () if one.status == "True"}
        if "Complete" in found:
            return LaunchStatus(State.ENDED, f"job {name} is complete", ENDED)
        if "Failed" not in found:
            why = self._why_no_pod(job) if not pods and self._should_have_a_pod(launch, job) else ""
            if "exceeded quota" in why:
                return LaunchStatus(State.HELD_UP, f"no pod is made for job {name}: {why}")
            return LaunchStatus(State.RUNNING, f"job {name} is there")
        # The job's failure may be listed before its pod's end is: taken at once, an eviction would count as a death.
        if not pods and launch.renewed is not None and time.time() - launch.renewed < self._quiet_seconds:
            return LaunchStatus(
                State.UNREACHABLE, f"job {name} has failed; its pod is not listed, so why is not known yet"
            )
        return _why(name, found["Failed"], pods)

    def _should_have_a_pod(self, launch: Launch, job: V1Job) -> bool:
        """Whether a job is overdue: a quota of pods or cores refuses those, and takes the job."""
        is_awaited = launch.created is not None and launch.acquired is None and launch.ending is None
        is_overdue = time.time() - (launch.created or 0.0) > self._quiet_seconds
        return is_awaited and is_overdue and not job.status.active and not job.spec.suspend

    def _why_no_pod(self, job: V1Job) -> str:
        """Returns the last that the cluster said of it; empty if it said nothing."""
        events = self.client.core_api.list_namespaced_event(
            job.metadata.namespace, field_selector=f"involvedObject.kind=Job,involvedObject.name={job.metadata.name}",
            _request_timeout=_TIMEOUT_SECONDS,
        )  # fmt: skip
        messages = [(str(one.last_timestamp or one.event_time or ""), str(one.message)) for one in events.items
                if one.reason == "FailedCreate"]  # fmt: skip
        return max(messages, default=("", ""))[1]

    def _without_job(self, launch: Launch, name: str, pods: list[Any]) -> LaunchStatus:
        """Judges a launch without a job: its pod may still be ending, or the answer may be an old one."""
        if any(pod.status.phase in ("Pending", "Running") for pod in pods):
            return LaunchStatus(State.RUNNING, f"job {name} is gone, its pod is not yet")
        last = launch.renewed or launch.created
        if last is not None and launch.ending is None and time.time() - last < self._quiet_seconds:
            return LaunchStatus(
                State.UNREACHABLE, f"job {name} is not there, though it was heard of {time.time() - last:.0f} s ago"
            )
        return LaunchStatus(State.ABSENT, f"job {name} is gone", EVICTED if _was_evicted(pods) else DIED)

    def end(self, launch: Launch) -> None:
        """Deletes the job and what is left of its pods."""
        if launch.name is not None:
            self._delete(launch.name, launch.namespace)
        for pod in self._call(lambda: self._pods(launch)):
            self._call(lambda pod=pod: self.client.core_api.delete_namespaced_pod(
                pod.metadata.name, pod.metadata.namespace, _request_timeout=_TIMEOUT_SECONDS
            ))  # fmt: skip

    def orphans(self) -> Iterable[Orphan]:
        """Lists the active jobs of this instance's launches."""
        selector = f"{_INSTANCE_LABEL}={self.client.instance}"
        jobs = self._call(lambda: self.client.batch_api.list_namespaced_job(
            self._launcher_namespace, label_selector=selector, _request_timeout=_TIMEOUT_SECONDS
        ))  # fmt: skip
        for job in jobs.items if jobs else ():
            if not any(one.status == "True" for one in job.status.conditions or ()):
                at = job.metadata
                yield Orphan(at.labels[LAUNCH_LABEL], int(at.labels[_FENCING_TOKEN]), at.name, at.namespace, at.uid)

    def remove(self, orphan: Orphan) -> None:
        """Deletes a job that no launch needs."""
        self._delete(orphan.name, orphan.namespace)

    @property
    def _launcher_namespace(self) -> str:
        return str(self._launcher.job_namespace)

    def _job(self, name: str, namespace: str | None) -> V1Job | None:
        try:
            return self.client.batch_api.read_namespaced_job(
                name, namespace or self._launcher_namespace, _request_timeout=_TIMEOUT_SECONDS
            )
        except ApiException as error:
            if error.status == 404:
                return None
            raise

    def _pods(self, launch: Launch) -> list[Any]:
        selector = f"{LAUNCH_LABEL}={launch.id},{_FENCING_TOKEN}={launch.fencing_token}"
        found = self.client.core_api.list_namespaced_pod(
            launch.namespace or self._launcher_namespace, label_selector=selector, _request_timeout=_TIMEOUT_SECONDS
        )
        return list(found.items)

    def _delete(self, name: str, namespace: str | None) -> None:
        named = {"name": name, "namespace": namespace or self._launcher_namespace, "propagation_policy": "Background"}
        self._call(lambda: self.client.batch_api.delete_namespaced_job(**named, _request_timeout=_TIMEOUT_SECONDS))

    def _call(self, ask: Any) -> Any:
        try:
            return ask()
        except ApiException as error:
            if error.status != 404:
                raise RetryLater(_describe(error)) from error
            return None
        except (HTTPError, OSError) as error:
            raise RetryLater(_describe(error)) from error


class FencedClient:
    """Dagster's Kubernetes client, whose jobs take the lease of their launch before they work."""

    def __init__(self, client: Any, launches: Launches, instance: str):
        self._client = client
        self._launches = launches
        self._current = threading.local()
        self.instance = instance

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    @contextmanager
    def creating(self, launch: Launch) -> Iterator[None]:
        """Makes the job that is created inside the block that of a launch."""
        # Dagster's launcher passes nothing through to its client, so the launch travels beside the call, in the thread.
        self._current.launch = launch
        try:
            yield
        finally:
            del self._current.launch

    def create_namespaced_job_with_retries(self, body: V1Job, namespace: str, **_named: Any) -> None:
        """Creates the job of a launch once, without waiting; where one is there for the same launch, it is that one.

        Raises:
            RetryLater: not now; the launch is to be put off, as nobody knows whether the job was created.
            LaunchError: never like this: a refusal, a namespace that is not there, a job that is somebody else's.
        """
        launch: Launch = self._current.launch
        spec = self._fence(body, launch)
        name, gpus = body.metadata.name, _gpus(body.spec.template.spec.containers[0])
        if not self._launches.specify(launch, spec, name, namespace, gpus):
            now = self._launches.get(launch.id)
            if now.is_open and now.acquired is None and now.fencing_token == launch.fencing_token:
                raise RetryLater("it was about to be started with other settings")
            return  # it is at work, over, or put off by somebody else
        try:
            job = self.batch_api.create_namespaced_job(namespace, body, _request_timeout=_TIMEOUT_SECONDS)
        except ApiException as error:
            # 409 after a lost answer is this launch's own job, which its digest tells.
            if error.status != 409:
                raise _refusal(error, namespace) from error
            job = self._existing(launch, name, namespace, spec)
        except (HTTPError, OSError) as error:
            raise RetryLater(_describe(error)) from error
        self._launches.created(launch, job.metadata.uid)

    def _existing(self, launch: Launch, name: str, namespace: str, spec: str) -> V1Job:
        """Returns the job that has the name, if it is this launch's."""
        try:
            job = self.batch_api.read_namespaced_job(name, namespace, _request_timeout=_TIMEOUT_SECONDS)
        except (ApiException, HTTPError, OSError) as error:
            raise RetryLater(f"job {name} exists and cannot be looked at: {_describe(error)}") from error
        found = (job.metadata.annotations or {}).get(_SPEC)
        if found != spec:
            raise LaunchError(
                f"job {name} exists in namespace {namespace}, and is not what launch {launch.lease_id} would create "
                f"(digest {spec[:12]}, found {(found or 'none')[:12]}); look whose it is, delete it and launch again"
            )
        return job

    def _fence(self, body: V1Job, launch: Launch) -> str:
        """Makes a job take the lease of its launch, run once and end; returns the digest of the resulting manifest."""
        job, pod = body, body.spec.template
        # Another name for each try: what was created before may still be there, or appear late.
        if (launch.attempt, launch.fencing_token) != (1, 1):
            job.metadata.name = pod.metadata.name = f"{job.metadata.name}-{launch.attempt}-{launch.fencing_token}"
        labels = {LAUNCH_LABEL: launch.id, _INSTANCE_LABEL: self.instance, _FENCING_TOKEN: str(launch.fencing_token)}
        for metadata in (job.metadata, pod.metadata):
            metadata.labels = {**(metadata.labels or {}), **labels}
        # Tries are the launch table's to count; a pod that Kubernetes starts anew would get no lease.
        job.spec.backoff_limit = 0
        job.spec.active_deadline_seconds = job.spec.active_deadline_seconds or _DEADLINE_SECONDS
        container = pod.spec.containers[0]
        container.command = [*(container.command or ()), *lease_prefix(container.args, launch.lease_id)]
        container.env = [*(container.env or ()), V1EnvVar(name=LEASE_VARIABLE, value=launch.lease_id)]
        plain = self.batch_api.api_client.sanitize_for_serialization(deepcopy(body))
        spec = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
        job.metadata.annotations = {**(job.metadata.annotations or {}), _SPEC: spec}
        return spec


def _refusal(error: ApiException, namespace: str) -> Exception:
    """Tells an answer that may be another one later from a refusal for good."""
    status, said = int(error.status or 0), _describe(error)
    if status in _WAITS or status >= 500 or (status == 403 and "exceeded quota" in said):
        after = (error.headers or {}).get("Retry-After", "")
        return RetryLater(said, float(after) if str(after).isdigit() else 0.0)
    if status == 404:
        return LaunchError(
            f"namespace {namespace} is not there ({said}); create it, or set job_namespace in dagster.yaml"
        )
    return LaunchError(f"the cluster refuses to create a job in namespace {namespace}: {said}")


def _why(name: str, failed: Any, pods: Iterable[Any]) -> LaunchStatus:
    """Says why a job failed, from what the kubelet says of its pods."""
    pods = list(pods)
    if _was_evicted(pods):
        said = next((pod.status.message for pod in pods if pod.status.message), "its pod was disrupted")
        return LaunchStatus(State.ENDED, f"job {name} was evicted: {said}", EVICTED)
    for pod in pods:
        for container in pod.status.container_statuses or ():
            ended = container.state.terminated
            if ended is not None and (ended.reason == "OOMKilled" or ended.exit_code == 137):
                how = f"{ended.reason}, exit status {ended.exit_code}"
                return LaunchStatus(State.ENDED, f"the pod of job {name} ran out of memory ({how})", OUT_OF_MEMORY)
            if ended is not None and ended.exit_code:
                return LaunchStatus(State.ENDED, f"the pod of job {name} ended with status {ended.exit_code}", DIED)
    return LaunchStatus(State.ENDED, f"job {name} failed: {failed.reason}", DIED)


def _was_evicted(pods: Iterable[Any]) -> bool:
    return any(
        pod.status.reason in _DISRUPTED
        or any(one.type == "DisruptionTarget" and one.status == "True" for one in pod.status.conditions or ())
        for pod in pods
    )


def _gpus(container: Any) -> float:
    limits = (container.resources.limits if container.resources else None) or {}
    return float(sum(float(amount) for name, amount in limits.items() if name.endswith("gpu")))


def _describe(error: BaseException) -> str:
    """Returns what an API server or a connection said, in a line."""
    if isinstance(error, ApiException):
        try:
            message = json.loads(error.body or "")["message"]
        except (ValueError, TypeError, KeyError):
            message = error.reason
        return f"{message} ({error.status})"
    reason: Any = getattr(error, "reason", None) or error
    said = reason.args[0] if reason.args and isinstance(reason.args[0], str) else reason
    return f"{type(error).__name__}: {str(said).rpartition('>: ')[2]}"


def _instance_label(launcher: Any) -> str:
    return str(instance_of(launcher).run_storage.get_run_storage_id())[:63]
