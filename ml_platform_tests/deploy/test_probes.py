"""What the manifests start, starts; what they probe it with, answers."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ml_platform_tests.deploy.manifests import INSTANCES, containers, instance_yaml, located, named, rendered
from ml_platform_tests.launchers.rig import MODULE
from ml_platform_tests.postgres import Postgres
from ml_platform_tests.servers import free_port, wait_until

pytestmark = pytest.mark.full


class Deployed:
    """The platform's containers as processes: their commands, with folders and ports of this machine."""

    def __init__(self, home: Path):
        self.home = home
        self.ports = {"3000": str(free_port()), "4000": str(free_port())}

    def container(self, name: str) -> dict[str, Any]:
        spec = named(rendered(INSTANCES[0]), "Deployment", name)["spec"]["template"]["spec"]
        return next(one for one in containers(spec) if one["name"] == name)

    def here(self, command: list[str]) -> list[str]:
        swapped = {
            "0.0.0.0": "127.0.0.1",
            "ml_platform.definitions": MODULE,  # loaded sooner; what answers is Dagster's server
            "/opt/dagster/home/workspace.yaml": str(self.home / "workspace.yaml"),
            **self.ports,
        }
        parts = [part.replace("/tmp/alive", str(self.home / "alive")) for part in command]
        return [swapped.get(part, part.replace(":3000/", f":{self.ports['3000']}/")) for part in parts]

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        with (self.home / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                self.here(self.container(name)["command"]), env=self.env(), stdout=log, stderr=log
            )
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)

    def env(self) -> dict[str, str]:
        return {**os.environ, "DAGSTER_HOME": str(self.home), "DAGSTER_PG_PASSWORD": "unused"}

    def answers(self, name: str, probe: str) -> bool:
        """Asks a container as the kubelet does."""
        given = self.container(name)[probe]
        if "grpc" in given:
            with grpc.insecure_channel(f"127.0.0.1:{self.ports[str(given['grpc']['port'])]}") as channel:
                request = health_pb2.HealthCheckRequest(service=given["grpc"]["service"])
                try:
                    answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=5)
                except grpc.RpcError:
                    return False
                return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
        command = self.here(given["exec"]["command"])
        return subprocess.run(command, env=self.env(), capture_output=True, check=False, timeout=60).returncode == 0


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, postgres_server: Postgres) -> Deployed:
    home = tmp_path_factory.mktemp("deployed")
    postgres_server.create_database("probes")
    storage = {
        "hostname": "127.0.0.1",
        "port": postgres_server.port,
        "username": "postgres",
        "db_name": "probes",
        "params": {},
    }
    config = located(instance_yaml(INSTANCES[0]), storage, dict.fromkeys(("cpu", "gpu"), str(home / "kubeconfig")))
    (home / "dagster.yaml").write_text(yaml.safe_dump(config))
    made = Deployed(home)
    text = named(rendered(INSTANCES[0]), "ConfigMap", "instance")["data"]["workspace.yaml"]
    workspace = yaml.safe_load(text)
    workspace["load_from"][0]["grpc_server"] |= {"host": "127.0.0.1", "port": int(made.ports["4000"])}
    (home / "workspace.yaml").write_text(json.dumps(workspace))
    return made


@pytest.mark.parametrize(
    "name", ["code", "reconciler", *(pytest.param(name, marks=pytest.mark.soak) for name in ("daemon", "webserver"))]
)
def test_a_probe_answers_once_the_process_is_there_and_not_before(deployed: Deployed, name: str) -> None:
    probes = [one for one in ("startupProbe", "readinessProbe", "livenessProbe") if one in deployed.container(name)]
    # The reconciler's other probes are about the database.
    assert not deployed.answers(name, "livenessProbe" if name == "reconciler" else "startupProbe")
    with deployed.running(name):
        log = deployed.home / f"{name}.log"
        for probe in probes:
            wait_until(
                lambda probe=probe: deployed.answers(name, probe), 120, f"{name}: {probe}\n{log.read_text()[-500:]}"
            )  # type: ignore[misc]


def test_a_reconciler_that_goes_on_no_more_is_started_anew(deployed: Deployed) -> None:
    alive = deployed.home / "alive"
    alive.touch()
    assert deployed.answers("reconciler", "livenessProbe")
    os.utime(alive, (time.time() - 600,) * 2)
    assert not deployed.answers("reconciler", "livenessProbe")
