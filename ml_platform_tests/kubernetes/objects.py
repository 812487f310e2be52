"""Objects of the stand-in cluster: their fields, and how they are selected."""

import json
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

_REASONS = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "AlreadyExists",
            410: "Gone", 422: "Invalid", 429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable"}  # fmt: skip


class Refused(HTTPException):
    """An answer other than the one that was asked for, in the API server's words."""

    def __init__(self, code: int, message: str, headers: Mapping[str, str] = {}):
        super().__init__(message)
        self.code = code
        self.message = message
        self.sent_headers = dict(headers)

    def get_response(self, *_arguments: Any, **_more: Any) -> Response:
        body = {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message,
            "reason": _REASONS.get(self.code or 500, "Unknown"), "code": self.code,
        }  # fmt: skip
        return as_json(body, self.code or 500, self.sent_headers)


def as_json(body: Any, code: int = 200, headers: Mapping[str, str] = {}) -> Response:

    return Response(json.dumps(body), code, headers, content_type="application/json")


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def metadata(given: Mapping[str, Any], namespace: str, version: int) -> dict[str, Any]:
    """Adds what the API server adds to an object's metadata."""
    return {
        **given, "namespace": namespace, "uid": str(uuid.uuid4()), "resourceVersion": str(version), "generation": 1,
        "creationTimestamp": now(), "labels": dict(given.get("labels") or {}),
    }  # fmt: skip


def is_selected(one: Mapping[str, Any], labels: str, fields: str) -> bool:
    return all(_has(one["metadata"].get("labels", {}), term) for term in _terms(labels)) and all(
        _field(one, path) == value for path, _, value in (term.partition("=") for term in _terms(fields))
    )


def _terms(selector: str) -> list[str]:
    return [term.strip() for term in re.split(r",(?![^(]*\))", selector) if term.strip()]


def _has(labels: Mapping[str, str], term: str) -> bool:
    within = re.fullmatch(r"(\S+)\s+(in|notin)\s+\(([^)]*)\)", term)
    if within:
        is_in = labels.get(within[1]) in [value.strip() for value in within[3].split(",")]
        return is_in == (within[2] == "in")
    if "!=" in term:
        name, _, value = term.partition("!=")
        return labels.get(name) != value
    if "=" in term:
        name, _, value = term.replace("==", "=").partition("=")
        return labels.get(name) == value
    return term[1:] not in labels if term.startswith("!") else term in labels


def _field(one: Mapping[str, Any], path: str) -> Any:
    found: Any = one
    for part in path.split("."):
        found = found.get(part, "") if isinstance(found, Mapping) else ""
    return found


def require_valid(manifest: Mapping[str, Any], kind: str) -> None:
    """Refuses a job that no API server would take."""
    pod = manifest.get("spec", {}).get("template", {}).get("spec", {})
    problems = []
    if not manifest.get("metadata", {}).get("name"):
        problems.append("metadata.name: Required value: name or generateName is required")
    if not pod.get("containers"):
        problems.append("spec.template.spec.containers: Required value")
    if pod.get("restartPolicy") not in ("Never", "OnFailure"):
        problems.append("spec.template.spec.restartPolicy: Required value: valid values: OnFailure, Never")
    if problems:
        name = manifest.get("metadata", {}).get("name", "")
        raise Refused(422, f'{kind}.batch "{name}" is invalid: {"; ".join(problems)}')
