"""Rules: what must never stand in a manifest, or in a job that a launcher makes."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import yaml

from ml_platform_tests.deploy.manifests import Manifest, containers, pod_specs

HOLD_A_TOKEN = {("ml-platform", "daemon"), ("ml-platform", "reconciler")}  # namespace and service account
_SECRET = re.compile(r"password|passwd|secret|token|credential|private_?key|access_?key", re.IGNORECASE)
_CREDENTIALS_IN_URL = re.compile(r"://[^/\s:@]+:[^/\s@]+@")
_RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
_SENSITIVE = {
    "secrets",
    "pods/exec",
    "pods/attach",
    "pods/portforward",
    "serviceaccounts/token",
    "roles",
    "rolebindings",
}
Rule = Callable[[Manifest], Iterable[object]]


def _of_containers(finds: Callable[[dict[str, Any], dict[str, Any]], object]) -> Rule:
    """Makes a rule of what is wrong with a container in its pod."""

    def rule(manifest: Manifest) -> Iterator[object]:
        for _, pod in pod_specs(manifest):
            for container in containers(pod):
                if found := finds(pod, container):
                    yield container["name"], found

    return rule


def _of_pods(finds: Callable[[str, dict[str, Any]], object]) -> Rule:
    """Makes a rule of what is wrong with a pod."""
    return lambda manifest: (found for namespace, pod in pod_specs(manifest) if (found := finds(namespace, pod)))


def _context(pod: Mapping[str, Any], container: Mapping[str, Any]) -> dict[str, Any]:
    """What counts for a container: its own settings before its pod's."""
    return {**(pod.get("securityContext") or {}), **(container.get("securityContext") or {})}


def _missing_resources(_pod: Mapping[str, Any], container: Mapping[str, Any]) -> list[str]:
    given = container.get("resources") or {}
    needed = [(kind, name) for kind in ("requests", "limits") for name in ("cpu", "memory")]
    return [f"{kind}.{name}" for kind, name in needed if name not in (given.get(kind) or {})]


def _loose_image(_pod: Mapping[str, Any], container: Mapping[str, Any]) -> str | None:
    image = str(container["image"])
    tag = image.rpartition("/")[2].partition(":")[2]
    return None if "@sha256:" in image or tag not in ("", "latest") else image


def _is_root(pod: Mapping[str, Any], container: Mapping[str, Any]) -> bool:
    context = _context(pod, container)
    return context.get("runAsNonRoot") is not True or context.get("runAsUser") == 0


def _capabilities(pod: Mapping[str, Any], container: Mapping[str, Any]) -> object:
    given = _context(pod, container).get("capabilities") or {}
    return given.get("add") or (None if given.get("drop") == ["ALL"] else "not all are dropped")


def _token(namespace: str, pod: Mapping[str, Any]) -> object:
    if (namespace, pod.get("serviceAccountName")) in HOLD_A_TOKEN:
        return None
    projected = [
        source for volume in pod.get("volumes") or () for source in (volume.get("projected") or {}).get("sources", ())
    ]
    is_projected = any("serviceAccountToken" in source for source in projected)
    return is_projected or pod.get("automountServiceAccountToken") is not False


def _default_account(_namespace: str, pod: Mapping[str, Any]) -> bool:
    return pod.get("serviceAccountName", "default") in ("", "default")


def _mounting_accounts(manifest: Manifest) -> Iterator[object]:
    if manifest["kind"] == "ServiceAccount" and manifest.get("automountServiceAccountToken") is not False:
        yield "pods get its token unless they say otherwise"


def _cluster_wide(manifest: Manifest) -> Iterator[object]:
    if manifest["kind"] in ("ClusterRole", "ClusterRoleBinding"):
        yield manifest["kind"]
    if manifest["kind"] == "RoleBinding" and manifest["roleRef"]["kind"] != "Role":
        yield manifest["roleRef"]["name"]


def _wildcards(manifest: Manifest) -> Iterator[object]:
    for rule in manifest.get("rules") or () if manifest["kind"] in ("Role", "ClusterRole") else ():
        yield from (rule for kind in ("verbs", "resources", "apiGroups") if "*" in rule.get(kind, ()))


def _powers(manifest: Manifest) -> Iterator[object]:
    for rule in manifest.get("rules") or () if manifest["kind"] in ("Role", "ClusterRole") else ():
        yield from {"escalate", "bind", "impersonate"} & set(rule["verbs"]) | _SENSITIVE & set(rule["resources"])


def _loose_subjects(manifest: Manifest) -> Iterator[object]:
    for subject in manifest.get("subjects") or () if manifest["kind"].endswith("RoleBinding") else ():
        if subject["kind"] != "ServiceAccount" or subject["name"] == "default":
            yield subject["name"]


def _clear_secrets(manifest: Manifest) -> Iterator[object]:
    if manifest["kind"] == "Secret":
        yield from [*(manifest.get("data") or ()), *(manifest.get("stringData") or ())]
    if manifest["kind"] == "ConfigMap":
        for name, text in (manifest.get("data") or {}).items():
            yield from _clear_in(yaml.safe_load(text) if name.endswith((".yaml", ".yml")) else {name: text})
    for _, pod in pod_specs(manifest):
        for container in containers(pod):
            yield from _clear_in([{one["name"]: one.get("value")} for one in container.get("env") or ()])
            yield from _clear_in([*container.get("command", ()), *container.get("args", ())])


def _clear_in(found: Any) -> Iterator[object]:
    """Finds words in the clear where a key says that they are secret, and credentials in addresses."""
    if isinstance(found, Mapping):
        for key, value in found.items():
            is_path = isinstance(value, str) and value.startswith("/")
            if isinstance(value, str) and _SECRET.search(str(key)) and not is_path and not str(key).endswith("_name"):
                yield key
            yield from _clear_in(value)
    elif isinstance(found, list):
        for one in found:
            name, is_assignment, value = one.partition("=") if isinstance(one, str) else ("", "", "")
            yield from _clear_in({name: value} if is_assignment and name.isidentifier() else one)
    elif isinstance(found, str) and _CREDENTIALS_IN_URL.search(found):
        yield "credentials in an address"


def _loose_namespace(manifest: Manifest) -> Iterator[object]:
    labels = manifest["metadata"].get("labels") or {}
    if manifest["kind"] == "Namespace" and not _RESTRICTED.items() <= labels.items():
        yield labels


def _reachable(manifest: Manifest) -> Iterator[object]:
    if manifest["kind"] == "Service" and manifest["spec"].get("type", "ClusterIP") != "ClusterIP":
        yield manifest["spec"]["type"]


RULES: dict[str, Rule] = {
    "a privileged container": _of_containers(lambda pod, one: _context(pod, one).get("privileged")),
    "privilege escalation": _of_containers(
        lambda pod, one: _context(pod, one).get("allowPrivilegeEscalation") is not False
    ),
    "root": _of_containers(_is_root),
    "a root file system that can be written": _of_containers(
        lambda pod, one: not _context(pod, one).get("readOnlyRootFilesystem")
    ),
    "capabilities": _of_containers(_capabilities),
    "no seccomp profile": _of_containers(
        lambda pod, one: (
            (_context(pod, one).get("seccompProfile") or {}).get("type") not in ("RuntimeDefault", "Localhost")
        )
    ),
    "missing requests or limits": _of_containers(_missing_resources),
    "an image without a tag, or latest": _of_containers(_loose_image),
    "a port of the node": _of_containers(
        lambda _pod, one: [port for port in one.get("ports") or () if "hostPort" in port]
    ),
    "a namespace of the node": _of_pods(
        lambda _, pod: [kind for kind in ("hostNetwork", "hostPID", "hostIPC") if pod.get(kind)]
    ),
    "a folder of the node": _of_pods(
        lambda _, pod: [one["name"] for one in pod.get("volumes") or () if "hostPath" in one]
    ),
    "the default service account": _of_pods(_default_account),
    "a service account's token": _of_pods(_token),
    "a service account that mounts its token": _mounting_accounts,
    "a role for the whole cluster": _cluster_wide,
    "a wildcard in a role": _wildcards,
    "a role that gives more than it says": _powers,
    "a binding for more than one service account": _loose_subjects,
    "a secret in the clear": _clear_secrets,
    "a namespace that is not restricted": _loose_namespace,
    "a service that is reachable from outside": _reachable,
}


def broken(manifest: Manifest) -> dict[str, list[object]]:
    """Returns the rules that a manifest breaks, with what was found."""
    found = {name: list(rule(manifest)) for name, rule in RULES.items()}
    return {name: findings for name, findings in found.items() if findings}
