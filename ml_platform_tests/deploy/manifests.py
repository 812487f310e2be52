"""Renders the folders of deploy/kubernetes."""

import subprocess
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from typing import Any

import yaml

from ml_platform_tests.needed import program
from ml_platform_tests.repository import project_root

FOLDER = project_root() / "deploy/kubernetes"
INSTANCES = ("overlays/one-cluster", "overlays/two-clusters")
RENDERED = (*INSTANCES, "overlays/two-clusters/gpu-cluster")
Manifest = dict[str, Any]


@cache
def _kubectl(folder: str) -> str:
    command = [program("kubernetes-client", "kubectl"), "kustomize", str(FOLDER / folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rendered(folder: str) -> list[Manifest]:
    """Returns the manifests of a folder, as `kubectl apply -k` would send them."""
    return [one for one in yaml.safe_load_all(_kubectl(folder)) if one]


def named(manifests: list[Manifest], kind: str, name: str, namespace: str = "ml-platform") -> Manifest:
    """Finds a manifest; a generated one has a digest after its name."""
    (found,) = (
        one
        for one in manifests
        if one["kind"] == kind
        and (one["metadata"]["name"] == name or one["metadata"]["name"].rpartition("-")[0] == name)
        and one["metadata"].get("namespace", "ml-platform") == namespace
    )
    return found


def instance_yaml(folder: str) -> dict[str, Any]:
    """Returns the `dagster.yaml` that an overlay's pods find."""
    text = named(rendered(folder), "ConfigMap", "instance")["data"]["dagster.yaml"]
    return dict(yaml.safe_load(text))


def located(
    config: Mapping[str, Any], storage: Mapping[str, Any], kubeconfigs: Mapping[str, str], prefix: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Returns a rendered `dagster.yaml` with the tests' database and clusters in place of those that it names.

    Args:
        storage: where the database is; the rest of `postgres_db` stays.
        kubeconfigs: launcher to file.
        prefix: what the containers of pods execute before the command that they are given.
    """
    found = deepcopy(dict(config))
    found["storage"]["custom"]["config"]["postgres_db"] |= storage
    for name, launcher in found["run_launcher"]["config"]["launchers"].items():
        launcher["config"] |= {"load_incluster_config": False, "kubeconfig_file": kubeconfigs[name]}
        if prefix:
            launcher["config"]["run_k8s_config"]["container_config"]["command"] = list(prefix)
    return found


def pod_specs(manifest: Manifest) -> Iterator[tuple[str, dict[str, Any]]]:
    """Returns the pods that a manifest has made, each with its namespace."""
    namespace = manifest["metadata"].get("namespace", "default")
    spec = manifest.get("spec") or {}
    if manifest["kind"] == "Pod":
        yield namespace, spec
    elif manifest["kind"] == "CronJob":
        yield namespace, spec["jobTemplate"]["spec"]["template"]["spec"]
    elif "template" in spec:
        yield namespace, spec["template"]["spec"]


def containers(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Lists all containers of a pod, whenever they run."""
    kinds = ("containers", "initContainers", "ephemeralContainers")
    return [container for kind in kinds for container in pod.get(kind) or ()]
