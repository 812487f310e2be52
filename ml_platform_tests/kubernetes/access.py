"""Decides who may ask the stand-in for what, as Kubernetes judges it, from the manifests of roles and their bindings."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from werkzeug.wrappers import Request

from ml_platform_tests.kubernetes.objects import Refused

_VERBS = {"create": "create", "list": "list", "read": "get", "delete": "delete"}
_RESOURCES = {
    "job": ("batch", "jobs"), "pod": ("", "pods"), "log": ("", "pods/log"), "event": ("", "events"),
    "namespace": ("", "namespaces"),
}  # fmt: skip


@dataclass(frozen=True, order=True)
class Permission:
    """One verb on one resource in one namespace."""

    namespace: str | None
    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


Access = Mapping[str, frozenset[Permission]]  # of users, by their names


def asked(endpoint: str, path: str, namespace: str | None) -> Permission:
    """Returns what a request needs."""
    verb, _, kind = endpoint.partition("_")
    group, resource = _RESOURCES[kind.removesuffix("s") if verb == "list" else kind]
    return Permission(namespace, group, f"{resource}/status" if path.endswith("/status") else resource, _VERBS[verb])


def user_of(request: Request) -> str:
    """Returns who asks: the stand-in's tokens are the names of their users."""
    return request.headers.get("Authorization", "").removeprefix("Bearer ")


def require(access: Access | None, request: Request, needed: Permission) -> None:
    """Refuses what the roles do not allow; without any, everything is allowed."""
    user = user_of(request)
    if access is None or needed in access.get(user, frozenset()):
        return
    name, _, part = needed.resource.partition("/")
    full = ".".join(filter(None, (name, needed.group))) + (f"/{part}" if part else "")
    place = f'in the namespace "{needed.namespace}"' if needed.namespace else "at the cluster scope"
    told = f'User "{user}" cannot {needed.verb} resource "{needed.resource}" in API group "{needed.group}" {place}'
    raise Refused(403, f"{full} is forbidden: {told}")


def access_in(manifests: Iterable[Mapping[str, Any]]) -> dict[str, frozenset[Permission]]:
    """Returns what the roles and bindings among manifests let each service account do."""
    manifests = list(manifests)
    roles = {_place(one): one["rules"] for one in manifests if one["kind"] == "Role"}
    found: dict[str, frozenset[Permission]] = {}
    for binding in (one for one in manifests if one["kind"] == "RoleBinding"):
        namespace = binding["metadata"]["namespace"]
        allowed = _permissions(namespace, roles[namespace, binding["roleRef"]["name"]])
        for subject in binding["subjects"]:
            user = f"system:serviceaccount:{subject['namespace']}:{subject['name']}"
            found[user] = found.get(user, frozenset()) | allowed
    return found


def _place(manifest: Mapping[str, Any]) -> tuple[str, str]:
    return manifest["metadata"]["namespace"], manifest["metadata"]["name"]


def _permissions(namespace: str, rules: Iterable[Mapping[str, Any]]) -> frozenset[Permission]:
    return frozenset(
        Permission(namespace, group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    )
