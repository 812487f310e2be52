"""What Dagster's own coordinator, launcher and executor make of a tag set: they leave tags as they are."""

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import dagster as dg
from dagster_k8s import K8sRunLauncher, construct_dagster_k8s_job, k8s_job_executor
from kubernetes.client import ApiClient

from ml_platform.compat.dagster import process_config
from ml_platform.compat.dagster_k8s import K8sContainerContext
from ml_platform.launchers.tag_policy import TagPolicy
from ml_platform_tests.dagster_internals import InMemoryJob
from ml_platform_tests.launchers.tag_cases import CONFIG, RESOURCES, TagSet
from ml_platform_tests.launchers.tag_location import stock

NODES = ("nodeSelector", "tolerations", "nodeName", "priorityClassName", "schedulerName")
LIFE = ("ttlSecondsAfterFinished", "backoffLimit", "activeDeadlineSeconds", "parallelism", "completions")
FAILS = "no pod: the run fails"
NO_TIME = "no limit of time, or more than a week"


class StockPods:
    """Makes the jobs of runs and steps by the stock code alone, with no database and no cluster."""

    def __init__(self, run: dg.DagsterRun, launcher: K8sRunLauncher):
        self._run = run
        self._launcher = launcher

    def kinds(self, one: TagSet) -> set[str]:
        """Lists what the set's pods have beyond what is declared."""
        return self.kinds_of_run(one) | self._kinds_of_steps(one)

    def kinds_of_run(self, one: TagSet) -> set[str]:
        tags = one.as_dagster_reads
        if CONFIG not in tags and RESOURCES not in tags:
            return set()
        try:
            context = self._launcher.get_container_context_for_run(self._run.with_tags(tags))
            return kinds_in(self._job(context, None), self._plain)
        except Exception:  # noqa: BLE001  (whatever stock Dagster does not understand, the run fails)
            return {FAILS}

    def _kinds_of_steps(self, one: TagSet) -> set[str]:
        config = one.run_config.get("execution") if isinstance(one.run_config, dict) else None
        validated = process_config(k8s_job_executor.config_schema.config_type, (config or {}).get("config") or {})
        if not config or not validated.success:
            return set()  # the API refuses it, here too
        try:
            context, image = self._of_step(validated.value)
            return kinds_in(self._job(context, image), self._plain) | self._elsewhere(context)
        except Exception:  # noqa: BLE001
            return {FAILS}

    def _of_step(self, config: Any) -> tuple[K8sContainerContext, str | None]:
        job = InMemoryJob(stock.get_job_def("plain"))
        given = dg.InitExecutorContext(job, k8s_job_executor, config, self._launcher._instance)
        handler: Any = k8s_job_executor.executor_creation_fn(given)._step_handler  # type: ignore[misc, union-attr]
        context = K8sContainerContext.create_for_run(self._run, self._launcher, include_run_tags=False)
        return context.merge(handler._executor_container_context), handler._executor_image

    def _elsewhere(self, context: K8sContainerContext) -> set[str]:
        return {"namespace"} if context.namespace != self._launcher.job_namespace else set()

    @cached_property
    def _plain(self) -> dict[str, Any]:
        return self._job(self._launcher.get_container_context_for_run(self._run.with_tags({})), None)

    def _job(self, context: K8sContainerContext, image: str | None) -> dict[str, Any]:
        config = context.get_k8s_job_config(image, self._launcher)
        job = construct_dagster_k8s_job(
            config, ["run"], "run", context.run_k8s_config, pod_name="run", component="run_worker"
        )
        return dict(ApiClient().sanitize_for_serialization(job))


def kinds_in(job: Mapping[str, Any], plain: Mapping[str, Any]) -> set[str]:
    """Lists what a job has that a plain one has not."""
    spec, pod, container = _parts(job)
    plain_spec, plain_pod, plain_container = _parts(plain)
    volumes = pod.get("volumes") or []

    def differs(one: Mapping[str, Any], other: Mapping[str, Any], *names: str) -> bool:
        return any(one.get(name) != other.get(name) for name in names)

    found = {
        "privileged": bool((container.get("securityContext") or {}).get("privileged")),
        "host path": any("hostPath" in one for one in volumes),
        "host namespaces": differs(pod, plain_pod, "hostNetwork", "hostPID", "hostIPC"),
        "service account": differs(pod, plain_pod, "serviceAccountName"),
        "image or command": differs(container, plain_container, "image", "command"),
        "secrets or variables": differs(container, plain_container, "env", "envFrom")
        or any("secret" in one for one in volumes),
        "more containers": len(pod["containers"]) > 1 or bool(pod.get("initContainers")),
        "nodes": differs(pod, plain_pod, *NODES),
        "resources": differs(container, plain_container, "resources"),
        "lifetime or copies": differs(spec, plain_spec, *LIFE),
        "labels or annotations": _describe(job) != _describe(plain),
    }
    return {kind for kind, is_there in found.items() if is_there}


def _parts(job: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    pod = job["spec"]["template"]["spec"]
    return job["spec"], pod, pod["containers"][0]


def _describe(job: Mapping[str, Any]) -> list[Any]:
    metadata = (job["metadata"], job["spec"]["template"]["metadata"])
    own = ("dagster/", "app.kubernetes.io/")
    return [
        [
            {key: value for key, value in one.get("labels", {}).items() if not key.startswith(own)},
            one.get("annotations"),
        ]
        for one in metadata
    ]


def limits_off(tags: Mapping[str, str]) -> set[str]:
    """Lists the limits that are off, or beyond this platform's, on a run with these tags as Dagster reads them."""
    policy, found = TagPolicy(), set()
    text = tags.get("dagster/max_runtime", tags.get("dagster/max_runtime_seconds", ""))
    seconds = _number(text)
    if text and not (seconds is not None and (seconds < 0 or 0 < seconds <= policy.max_runtime_seconds)):
        found.add(NO_TIME)  # no number, 0 and `nan` are no limit to the daemon; less than 0 ends the run at once
    for key, most in (("priority", policy.max_priority), ("max_retries", policy.max_retries)):
        number = _number(tags.get(f"dagster/{key}", ""))
        if number is not None and math.isfinite(number) and number == int(number) and abs(number) > most:
            found.add(f"{key} beyond {most}")
    return found


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
