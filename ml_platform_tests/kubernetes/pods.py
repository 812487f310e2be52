"""Executes pods of the stand-in cluster as their manifests say, each in an environment of its own."""

import math
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml_platform_tests.kubernetes.warm import WarmProcess

INHERITED = ("PATH", "LANG", "VIRTUAL_ENV", "HOME", "XDG_CACHE_HOME")  # what stands for the image's own environment
_UNITS = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30}


@dataclass
class Ran:
    """One pod that was started; the cluster's record of it outlives the pod.

    Attributes:
        started: seconds, as of `time.time`.
        finished: the same; None while it runs.
        exit_code: as the container's; negative signals are given as Kubernetes does, 128 and the signal.
    """

    namespace: str
    job: str
    pod: str
    labels: Mapping[str, str]
    image: str
    resources: Mapping[str, Any]
    service_account: str | None
    env: Mapping[str, str]
    command: list[str]
    started: float
    pid: int
    finished: float | None = None
    exit_code: int | None = None


def quantity(text: Any) -> float:
    """Reads an amount of a resource: `500m`, `4Gi`, `2`."""
    match = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(text))
    assert match is not None, f"{text!r} is no quantity"
    return float(match[1]) * _UNITS[match[2]]


@dataclass
class Process:
    """The only container of a pod, as a process group of this machine."""

    pod: dict[str, Any]
    folder: Path
    values: Mapping[str, Mapping[str, str]]  # of config maps and secrets, by name
    is_warm: bool = False  # forked from a server that has imported what a launch's process needs
    reason: str | None = None  # why it was killed, as the kubelet would say
    _process: "subprocess.Popen[bytes] | WarmProcess | None" = field(default=None, repr=False)

    @property
    def container(self) -> dict[str, Any]:
        return dict(self.pod["spec"]["containers"][0])

    def environment(self) -> dict[str, str]:
        """Returns what the manifest says, and nothing of this process's beyond what an image has."""
        env = {name: os.environ[name] for name in INHERITED if name in os.environ}
        env["HOSTNAME"] = self.pod["metadata"]["name"]
        for source in self.container.get("envFrom") or []:
            reference = source.get("configMapRef") or source["secretRef"]
            env |= self.values.get(reference["name"], {})
        for one in self.container.get("env") or []:
            env[one["name"]] = _expanded(one["value"], env) if "value" in one else self._value_from(one["valueFrom"])
        return env

    def _value_from(self, source: Mapping[str, Any]) -> str:
        if "resourceFieldRef" in source:
            kind, _, name = source["resourceFieldRef"]["resource"].partition(".")
            given = (self.container.get("resources") or {}).get(kind, {}).get(name)
            # Without a limit Kubernetes gives what the node has.
            amount = quantity(given) if given is not None else float(os.cpu_count() or 1)
            return str(math.ceil(amount))
        if "fieldRef" in source:
            found: Any = {**self.pod, "status": {"podIP": "127.0.0.1"}}
            for part in source["fieldRef"]["fieldPath"].split("."):
                found = found[part]
            return str(found)
        reference = source.get("configMapKeyRef") or source["secretKeyRef"]
        return self.values[reference["name"]][reference["key"]]

    def command(self) -> list[str]:
        env = self.environment()
        parts = [*(self.container.get("command") or []), *(self.container.get("args") or [])]
        return [_expanded(part, env) for part in parts]

    def start(self) -> Ran:
        metadata, spec = self.pod["metadata"], self.pod["spec"]
        self.folder.mkdir(parents=True)
        if self.is_warm and "dagster" in self.command():
            self._process = WarmProcess(self.command(), self.environment(), self.folder)
        else:
            with (self.folder / "log").open("wb") as log:
                self._process = subprocess.Popen(
                    self.command(), env=self.environment(), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log,
                    stderr=subprocess.STDOUT, start_new_session=True,
                )  # fmt: skip
        labels = metadata.get("labels", {})
        return Ran(
            metadata["namespace"], labels.get("job-name", ""), metadata["name"], labels, self.container["image"],
            self.container.get("resources") or {}, spec.get("serviceAccountName"), self.environment(), self.command(),
            time.time(), self._process.pid,
        )  # fmt: skip

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def wait(self, timeout_seconds: float | None) -> int | None:
        """Returns the container's exit code; None if it still runs after so long."""
        assert self._process is not None
        try:
            code = self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return None
        return 128 - code if code < 0 else code

    def signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, number)

    def end(self, grace_seconds: float) -> None:
        """Asks it to end, and kills what has not after so long."""
        self.signal(signal.SIGTERM)
        if self._process is not None and self.wait(grace_seconds) is None:
            self.signal(signal.SIGKILL)
            self._process.wait()


def _expanded(text: str, env: Mapping[str, str]) -> str:
    """Puts variables in, as Kubernetes does: `$(NAME)`; one that is not there stays as it is written."""
    return re.sub(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)", lambda match: env.get(match[1], match[0]), text)
