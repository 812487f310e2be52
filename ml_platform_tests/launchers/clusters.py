"""Two stand-in clusters behind the launchers `cpu` and `gpu`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from ml_platform_tests.kubernetes import Cluster, Ran
from ml_platform_tests.launchers.rig import kubernetes


@contextmanager
def two_clusters(
    folder: Path, home: Path, cores: tuple[int, int] = (2, 1), *, is_warm: bool = False, **variables: str
) -> Iterator[tuple[Cluster, Cluster, dict[str, Any]]]:
    """Returns both, and what an instance's YAML says of them.

    Args:
        home: the Dagster instance, which pods reach as a cluster's would reach its database.
        cores: the limit of a pod on either.
        variables: what pods find in their environment.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with Cluster("cpu", ["ml-cpu"], is_warm=is_warm) as cpu, Cluster("gpu", ["ml-gpu"], is_warm=is_warm) as gpu:
        launchers = {}
        for cluster, count, more in ((cpu, cores[0], {"memory": "4Gi"}), (gpu, cores[1], {"nvidia.com/gpu": "1"})):
            place = {"PLACE": cluster.name, **variables}
            launchers[cluster.name] = kubernetes(
                job_namespace=f"ml-{cluster.name}",
                job_image=f"ml_platform:{cluster.name}",
                kubeconfig_file=str(cluster.write_kubeconfig(folder / f"{cluster.name}.kubeconfig")),
                dagster_home=str(home),
                resources={"limits": {"cpu": str(count), **more}},
                env_vars=[f"{name}={value}" for name, value in place.items()],
                fail_pod_on_run_failure=True,
            )
        yield cpu, gpu, launchers


def components(cluster: Cluster) -> list[str]:
    """Lists what a cluster's pods were: `run`, or the step that each executed."""
    return [component(ran) for ran in cluster.record]


def component(ran: Ran) -> str:
    labels: Mapping[str, str] = ran.labels
    return labels.get("dagster/op", "run")


def spans_of_steps(instance: dg.DagsterInstance, run_id: str) -> dict[str, tuple[float, float]]:
    """Returns when each step of a run executed, in seconds as of `time.time`."""
    started, ended = {}, {}
    for entry in instance.all_logs(run_id):
        event = entry.dagster_event
        if event is not None and event.step_key is not None:
            at = started if event.event_type_value == "STEP_START" else ended
            if event.event_type_value in ("STEP_START", "STEP_SUCCESS"):
                at[event.step_key] = entry.timestamp
    return {step: (at, ended[step]) for step, at in started.items()}


def beside(pod: Ran, spans: Mapping[str, tuple[float, float]]) -> set[str]:
    """Lists the steps that executed while a pod did: from the pod's start to the end of its own step."""
    own = component(pod)
    return {step for step, (start, end) in spans.items() if step != own and pod.started < end and start < spans[own][1]}
