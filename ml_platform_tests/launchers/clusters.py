"""Two stand-in clusters behind the launchers `cpu` and `gpu`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ml_platform_tests.kubernetes import Cluster, Ran
from ml_platform_tests.launchers.rig import kubernetes


@contextmanager
def two_clusters(folder: Path, home: Path, **variables: str) -> Iterator[tuple[Cluster, Cluster, dict[str, Any]]]:
    """Gives both, and what an instance's YAML says of them.

    Args:
        home: the Dagster instance, which pods reach as a cluster's would reach its database.
        variables: what pods find in their environment.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with Cluster("cpu", ["ml-cpu"]) as cpu, Cluster("gpu", ["ml-gpu"]) as gpu:
        launchers = {}
        for cluster, limits in ((cpu, {"cpu": "2", "memory": "4Gi"}), (gpu, {"cpu": "1", "nvidia.com/gpu": "1"})):
            place = {"PLACE": cluster.name, "HOME": str(folder), **variables}
            launchers[cluster.name] = kubernetes(
                job_namespace=f"ml-{cluster.name}",
                job_image=f"ml_platform:{cluster.name}",
                kubeconfig_file=str(cluster.write_kubeconfig(folder / f"{cluster.name}.kubeconfig")),
                dagster_home=str(home),
                resources={"limits": limits},
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


def overlap(one: Ran, other: Ran) -> bool:
    """Whether two pods were there at the same time."""
    return max(one.started, other.started) < min(one.finished or float("inf"), other.finished or float("inf"))
