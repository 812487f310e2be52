"""Does with jobs what a cluster does: pods, their phases, tries, deadlines and ends."""

import random
import signal
import string
import threading
import time
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from ml_platform_tests.kubernetes.objects import metadata, now
from ml_platform_tests.kubernetes.pods import Process

if TYPE_CHECKING:
    from ml_platform_tests.kubernetes.cluster import Cluster, Key

_LOOK_SECONDS = 0.05


class JobController:
    """Runs each job's pods, one thread a job."""

    def __init__(self, cluster: "Cluster"):
        self._cluster = cluster
        self._processes: dict[str, Process] = {}
        self._gone: set[str] = set()  # uids of jobs that were deleted
        self._threads: list[threading.Thread] = []

    def take(self, job: dict[str, Any]) -> None:
        thread = threading.Thread(target=self._run, args=(job,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def end(self) -> None:
        """Ends every pod, and waits for what looks after them."""
        with self._cluster.lock:
            self._gone |= {job["metadata"]["uid"] for job in self._cluster.jobs.values()}
        for process in list(self._processes.values()):
            process.signal(signal.SIGKILL)
        for thread in self._threads:
            thread.join(10)

    def _run(self, job: dict[str, Any]) -> None:
        job["status"] = {"startTime": now(), "active": 0}
        spec = job["spec"]
        limit, deadline = spec.get("backoffLimit", 6), spec.get("activeDeadlineSeconds")
        until = time.monotonic() + deadline if deadline else None
        failed = 0
        while failed <= limit and self._has_room(job):
            pod = self._make_pod(job)
            job["status"] = {**job["status"], "active": 1}
            code = self._run_pod(pod, until)
            job["status"] = {**job["status"], "active": 0}
            if code == 0:
                self._finish(job, "Complete", {"succeeded": 1})
                return
            failed += 1
            job["status"] = {**job["status"], "failed": failed}
            if until is not None and time.monotonic() >= until:
                self._finish(job, "Failed", {"failed": failed}, "DeadlineExceeded")
                return
        self._finish(job, "Failed", {"failed": failed}, "BackoffLimitExceeded")

    def _has_room(self, job: dict[str, Any]) -> bool:
        """Waits until a quota lets a pod be made; False if the job is deleted meanwhile."""
        cluster, namespace, name = self._cluster, job["metadata"]["namespace"], job["metadata"]["name"]
        is_told = False
        while job["metadata"]["uid"] not in self._gone:
            with cluster.lock:
                used = sum(key[0] == namespace and pod["status"]["phase"] in ("Pending", "Running")
                           for key, pod in cluster.pods.items())  # fmt: skip
                limit = cluster.pod_quotas.get(namespace)
            if limit is None or used < limit:
                return True
            if not is_told:
                told = f'Error creating: pods "{name}-x" is forbidden: exceeded quota: quota, requested: pods=1, used: pods={used}, limited: pods={limit}'  # fmt: skip
                cluster.event("Job", name, namespace, "FailedCreate", told)
                is_told = True
            time.sleep(_LOOK_SECONDS)
        return False

    def _finish(self, job: dict[str, Any], kind: str, status: dict[str, Any], reason: str | None = None) -> None:
        condition = {"type": kind, "status": "True", "reason": reason, "lastTransitionTime": now()}
        with self._cluster.lock:
            job["status"] = {**job["status"], **status, "completionTime": now(), "conditions": [condition]}
            if kind == "Failed":
                del job["status"]["completionTime"]

    def _make_pod(self, job: dict[str, Any]) -> dict[str, Any]:
        cluster, owner = self._cluster, job["metadata"]
        template = deepcopy(job["spec"]["template"])
        name = f"{owner['name']}-{''.join(random.choices(string.ascii_lowercase + string.digits, k=5))}"
        labels = {
            "job-name": owner["name"],
            "batch.kubernetes.io/job-name": owner["name"],
            "controller-uid": owner["uid"],
        }
        given = {**template.get("metadata", {}), "name": name}
        given["labels"] = {**(given.get("labels") or {}), **labels}
        reference = {
            "kind": "Job",
            "apiVersion": "batch/v1",
            "name": owner["name"],
            "uid": owner["uid"],
            "controller": True,
        }
        with cluster.lock:
            pod = {
                "kind": "Pod", "apiVersion": "v1", "spec": template["spec"], "status": {"phase": "Pending"},
                "metadata": {**metadata(given, owner["namespace"], cluster.stamp()), "ownerReferences": [reference]},
            }  # fmt: skip
            cluster.pods[owner["namespace"], name] = pod
        cluster.event("Job", owner["name"], owner["namespace"], "SuccessfulCreate", f"Created pod: {name}")
        return pod

    def _run_pod(self, pod: dict[str, Any], until: float | None) -> int:
        cluster, name = self._cluster, pod["metadata"]["name"]
        process = Process(pod, cluster.folder / name, cluster.values, cluster.is_warm)
        ran = process.start()
        with cluster.lock:
            self._processes[name] = process
            cluster.record.append(ran)
            pod["status"] = {
                "phase": "Running",
                "startTime": now(),
                "containerStatuses": [self._status(pod, {"running": {"startedAt": now()}})],
            }
        code = process.wait(_LOOK_SECONDS)
        while code is None:
            if until is not None and time.monotonic() >= until:
                process.end(cluster.grace_seconds)
            code = process.wait(_LOOK_SECONDS)
        ran.finished, ran.exit_code = time.time(), code
        self._ended(pod, process, code)
        return code if process.reason is None else code or 1

    def _ended(self, pod: dict[str, Any], process: Process, code: int) -> None:
        reason = process.reason or ("Completed" if code == 0 else "Error")
        phase = {"phase": "Succeeded" if code == 0 and process.reason is None else "Failed"}
        if process.reason in ("Evicted", "NodeLost"):
            phase |= {"reason": process.reason, "message": "The node was low on resource: memory."}
        ended = {"terminated": {"exitCode": code, "reason": reason, "finishedAt": now()}}
        with self._cluster.lock:
            pod["status"] = {**pod["status"], **phase, "containerStatuses": [self._status(pod, ended)]}
            if "deletionTimestamp" in pod["metadata"]:
                self._cluster.pods.pop((pod["metadata"]["namespace"], pod["metadata"]["name"]), None)

    def _status(self, pod: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
        container = pod["spec"]["containers"][0]
        return {
            "name": container["name"], "image": container["image"], "imageID": "", "ready": "running" in state,
            "restartCount": 0, "state": state, "started": True,
        }  # fmt: skip

    def log(self, pod: str) -> str:
        return self._processes[pod].log() if pod in self._processes else ""

    def kill(self, pod: str, reason: str) -> None:
        process = self._processes[pod]
        process.reason = None if reason == "Error" else reason
        if reason == "Evicted":
            threading.Thread(target=process.end, args=(self._cluster.grace_seconds,), daemon=True).start()
        else:
            process.signal(signal.SIGKILL)

    def delete_job(self, key: "Key", *, is_orphaning: bool) -> None:
        cluster = self._cluster
        with cluster.lock:
            job = cluster.jobs.pop(key)
            self._gone.add(job["metadata"]["uid"])
            uid = job["metadata"]["uid"]
            own = [
                pod for pod, found in cluster.pods.items() if found["metadata"]["labels"].get("controller-uid") == uid
            ]
        for pod in () if is_orphaning else own:
            self.delete_pod(pod)

    def delete_pod(self, key: "Key") -> None:
        cluster = self._cluster
        with cluster.lock:
            pod = cluster.pods.get(key)
            if pod is None:
                return
            pod["metadata"]["deletionTimestamp"] = now()
            process = self._processes.get(key[1])
            is_over = pod["status"]["phase"] in ("Succeeded", "Failed")
            if is_over:
                del cluster.pods[key]
        if process is not None and not is_over:
            grace = min(cluster.grace_seconds, pod["spec"].get("terminationGracePeriodSeconds") or 30)
            threading.Thread(target=process.end, args=(grace,), daemon=True).start()
