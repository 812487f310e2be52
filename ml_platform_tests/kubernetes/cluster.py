"""A stand-in that answers as a Kubernetes API server does, and runs the jobs that it is given."""

import json
import re
import socket
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from ml_platform_tests.kubernetes.access import Access, asked, require
from ml_platform_tests.kubernetes.controller import JobController
from ml_platform_tests.kubernetes.objects import Refused, as_json, is_selected, metadata, require_valid
from ml_platform_tests.kubernetes.pods import Ran

_NS, _ALL = "/api/v1/namespaces/<ns>", "/apis/batch/v1"
_JOBS = f"{_ALL}/namespaces/<ns>/jobs"
_PATHS = Map(
    [
        Rule(_JOBS, endpoint="create_job", methods=["POST"]),
        Rule(_JOBS, endpoint="list_jobs", methods=["GET"]),
        Rule(f"{_ALL}/jobs", endpoint="list_jobs", methods=["GET"], defaults={"ns": None}),
        Rule(f"{_JOBS}/<name>", endpoint="read_job", methods=["GET"]),
        Rule(f"{_JOBS}/<name>/status", endpoint="read_job", methods=["GET"]),
        Rule(f"{_JOBS}/<name>", endpoint="delete_job", methods=["DELETE"]),
        Rule(f"{_NS}/pods", endpoint="list_pods", methods=["GET"]),
        Rule("/api/v1/pods", endpoint="list_pods", methods=["GET"], defaults={"ns": None}),
        Rule(f"{_NS}/pods/<name>", endpoint="read_pod", methods=["GET"]),
        Rule(f"{_NS}/pods/<name>/log", endpoint="read_log", methods=["GET"]),
        Rule(f"{_NS}/pods/<name>", endpoint="delete_pod", methods=["DELETE"]),
        Rule(f"{_NS}/events", endpoint="list_events", methods=["GET"]),
        Rule("/api/v1/namespaces/<name>", endpoint="read_namespace", methods=["GET"]),
    ]
)
Key = tuple[str, str]


@dataclass
class Fault:
    """Something that goes wrong with requests that fit.

    Attributes:
        path: a regular expression on the path.
        kind: `answer` (a code instead of the effect), `cut before` or `cut after` the effect, `slow`, or `stale` (the
            answer of so many seconds ago).
        times: how many requests it hits.
    """

    method: str
    path: str
    kind: str = "answer"
    code: int = 500
    message: str = "etcdserver: request timed out"
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    times: int = 1
    injected: int = 0

    def hits(self, method: str, path: str) -> bool:
        return self.injected < self.times and method == self.method and re.search(self.path, path) is not None


class _Quiet(WSGIRequestHandler):
    def log(self, *_arguments: Any) -> None: ...


class _Cut(Exception):
    """The connection ends without an answer."""


class Cluster:
    """One cluster: its API on the loopback, its jobs' pods as processes of this machine.

    Attributes:
        record: every pod that was ever started.
        calls: method, path and code of every request.
        faults: what is to go wrong.
        quotas: namespace to how many jobs may be there; `pod_quotas`: to how many pods.
        values: config maps and secrets by name.
        access: what each user may do; None: everything.
    """

    def __init__(
        self, name: str, namespaces: Iterable[str] = ("default",), grace_seconds: float = 5.0, *, is_warm: bool = False
    ):
        self.name = name
        self.namespaces = dict.fromkeys(namespaces, "Active")
        self.grace_seconds = grace_seconds
        self.is_warm = is_warm
        self.jobs: dict[Key, dict[str, Any]] = {}
        self.pods: dict[Key, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        self.record: list[Ran] = []
        self.calls: list[tuple[str, str, int]] = []
        self.faults: list[Fault] = []
        self.quotas: dict[str, int] = {}
        self.pod_quotas: dict[str, int] = {}
        self.values: dict[str, dict[str, str]] = {}
        self.access: Access | None = None
        self.lock = threading.RLock()
        self._version = 0
        self._answers: list[tuple[float, str, Response]] = []
        self.controller = JobController(self)
        self._server: BaseWSGIServer | None = None

    def __enter__(self) -> "Cluster":
        self._folder = tempfile.TemporaryDirectory(prefix=f"cluster-{self.name}-")
        self.folder = Path(self._folder.name)
        self._listen(0)
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop_listening()
        self.controller.end()
        self._folder.cleanup()

    def _listen(self, port: int) -> None:
        self._server = make_server("127.0.0.1", port, self._serve, threaded=True, request_handler=_Quiet)
        self.port = int(self._server.server_port)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def _stop_listening(self) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Takes the API away; the pods go on."""
        self._stop_listening()
        try:
            yield
        finally:
            self._listen(self.port)

    def write_kubeconfig(self, path: Path, user: str = "a-user") -> Path:
        server = {"name": self.name, "cluster": {"server": f"http://127.0.0.1:{self.port}"}}
        user_entry = {"name": "launcher", "user": {"token": user}}
        context = {"name": self.name, "context": {"cluster": self.name, "user": "launcher"}}
        whole = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [server],
            "users": [user_entry],
            "contexts": [context],
        }
        path.write_text(yaml.safe_dump({**whole, "current-context": self.name}))
        return path

    def stamp(self) -> int:
        self._version += 1
        return self._version

    def event(self, kind: str, name: str, namespace: str, reason: str, message: str) -> None:
        with self.lock:
            self.events.append({
                "metadata": {"name": f"{name}.{self.stamp()}", "namespace": namespace}, "reason": reason,
                "message": message, "type": "Normal", "involvedObject": {"kind": kind, "name": name, "namespace": namespace},
            })  # fmt: skip

    def kill_pod(self, name: str, reason: str = "Error") -> None:
        """Kills a pod: `OOMKilled`, `Evicted` (asked to end first), `NodeLost` or just `Error`; its status says so as the kubelet's would."""
        self.controller.kill(name, reason)

    def delete_namespace(self, name: str) -> None:
        with self.lock:
            self.namespaces[name] = "Terminating"
            gone = [key for key in self.jobs if key[0] == name]
        for key in gone:
            self.controller.delete_job(key, is_orphaning=False)
        with self.lock:
            del self.namespaces[name]

    # The API

    def _serve(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        try:
            response = self._answer(request)
        except _Cut:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionAbortedError from None
        self.calls.append((request.method, request.path, response.status_code))
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        fault = self._fault(request)
        if fault is not None and fault.kind in ("answer", "cut before"):
            return self._fail(fault)
        if fault is not None and fault.kind == "slow":
            time.sleep(fault.seconds)
        if fault is not None and fault.kind == "stale":
            return self._former(request.full_path, fault.seconds)
        try:
            endpoint, arguments = _PATHS.bind_to_environ(request.environ).match()
            require(self.access, request, asked(endpoint, request.path, arguments.get("ns")))
            response = as_json(*getattr(self, f"_{endpoint}")(request, **arguments))
        except HTTPException as error:
            response = error.get_response() if isinstance(error, Refused) else as_json({}, error.code or 500)
        self._answers.append((time.monotonic(), request.full_path, response))
        if fault is not None and fault.kind == "cut after":
            raise _Cut
        return response

    def _fault(self, request: Request) -> Fault | None:
        with self.lock:
            found = next((fault for fault in self.faults if fault.hits(request.method, request.path)), None)
            if found is not None:
                found.injected += 1
            return found

    def _fail(self, fault: Fault) -> Response:
        if fault.kind == "cut before":
            raise _Cut
        return Refused(fault.code, fault.message, fault.headers).get_response()

    def _former(self, path: str, seconds: float) -> Response:
        """Returns what was answered so long ago; nothing if nothing was."""
        until = time.monotonic() - seconds
        former = [answer for at, where, answer in self._answers if where == path and at <= until]
        return former[-1] if former else as_json({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": []})

    def _namespace(self, name: str) -> None:
        if name not in self.namespaces:
            raise Refused(404, f'namespaces "{name}" not found')

    def _create_job(self, request: Request, ns: str) -> tuple[Any, int]:
        return self.create(ns, json.loads(request.get_data())), 201

    def create(self, ns: str, given: dict[str, Any]) -> dict[str, Any]:
        """Takes a job, as the API does."""
        require_valid(given, "Job")
        name = given["metadata"]["name"]
        with self.lock:
            self._namespace(ns)
            if self.namespaces[ns] != "Active":
                raise Refused(403, f'jobs.batch "{name}" is forbidden: unable to create new content in namespace {ns} because it is being terminated')  # fmt: skip
            if (ns, name) in self.jobs:
                raise Refused(409, f'jobs.batch "{name}" already exists')
            used = sum(key[0] == ns for key in self.jobs)
            if ns in self.quotas and used >= self.quotas[ns]:
                raise Refused(403, f'jobs.batch "{name}" is forbidden: exceeded quota: jobs, requested: count/jobs.batch=1, used: count/jobs.batch={used}, limited: count/jobs.batch={self.quotas[ns]}')  # fmt: skip
            job = {**given, "metadata": metadata(given["metadata"], ns, self.stamp()), "status": {}}
            self.jobs[ns, name] = job
            self.controller.take(job)
            return deepcopy(job)

    def _list(self, kind: str, among: Mapping[Key, Any] | Iterable[Any], request: Request, ns: str | None) -> Any:
        with self.lock:
            every = among.values() if isinstance(among, Mapping) else among
            labels, fields = request.args.get("labelSelector", ""), request.args.get("fieldSelector", "")
            items = [
                deepcopy(one)
                for one in every
                if ns in (None, one["metadata"]["namespace"]) and is_selected(one, labels, fields)
            ]
            return {"kind": f"{kind}List", "apiVersion": "v1", "metadata": {"resourceVersion": str(self._version)},
                    "items": items}, 200  # fmt: skip

    def _list_jobs(self, request: Request, ns: str | None) -> Any:
        return self._list("Job", self.jobs, request, ns)

    def _list_pods(self, request: Request, ns: str | None) -> Any:
        return self._list("Pod", self.pods, request, ns)

    def _list_events(self, request: Request, ns: str) -> Any:
        return self._list("Event", self.events, request, ns)

    def _read(self, among: Mapping[Key, Any], what: str, ns: str, name: str) -> Any:
        with self.lock:
            if (ns, name) not in among:
                raise Refused(404, f'{what} "{name}" not found')
            return deepcopy(among[ns, name]), 200

    def _read_job(self, _request: Request, ns: str, name: str) -> Any:
        return self._read(self.jobs, "jobs.batch", ns, name)

    def _read_pod(self, _request: Request, ns: str, name: str) -> Any:
        return self._read(self.pods, "pods", ns, name)

    def _read_namespace(self, _request: Request, name: str) -> Any:
        self._namespace(name)
        return {"kind": "Namespace", "metadata": {"name": name}, "status": {"phase": self.namespaces[name]}}, 200

    def _read_log(self, _request: Request, ns: str, name: str) -> Any:
        self._read(self.pods, "pods", ns, name)
        return self.controller.log(name), 200

    def _delete_job(self, request: Request, ns: str, name: str) -> Any:
        found = self._read(self.jobs, "jobs.batch", ns, name)
        options: dict[str, Any] = {}
        with suppress(ValueError):
            options = json.loads(request.get_data()) or {}
        policy = request.args.get("propagationPolicy") or options.get("propagationPolicy") or "Orphan"
        self.controller.delete_job((ns, name), is_orphaning=policy == "Orphan")
        return found

    def _delete_pod(self, _request: Request, ns: str, name: str) -> Any:
        found = self._read(self.pods, "pods", ns, name)
        self.controller.delete_pod((ns, name))
        return found
