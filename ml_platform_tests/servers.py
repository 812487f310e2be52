"""Dagster's own webserver and daemon, on the loopback, for as long as a test needs them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dagster import DagsterInstance

# The daemon as it is, but it looks at backfills every second, not every thirty.
QUICK_DAEMON = """
from dagster._daemon import controller
controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 1
from dagster._daemon.cli import main
main()
"""


PATIENT_SECONDS = 300.0  # for what must come: a machine that does other things is slow, and what hangs is told late


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A running webserver with its daemon."""

    def __init__(self, url: str):
        self.url = url

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Sends one GraphQL request, as the UI does."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=PATIENT_SECONDS) as answer:
            found = json.loads(answer.read())
        assert "errors" not in found, found
        return dict(found["data"])

    def backfill(self, assets: list[str], partitions: list[str], timeout_seconds: float = 2 * PATIENT_SECONDS) -> str:
        """Launches a backfill as the UI's button does, and waits for its end; returns the final status."""
        answer = self.ask(
            """mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
                 __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }""",
            params={
                "assetSelection": [{"path": name.split("/")} for name in assets],
                "partitionNames": partitions,
            },
        )["launchPartitionBackfill"]
        assert answer["__typename"] == "LaunchBackfillSuccess", answer
        query = (
            "query ($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }"
        )

        def status() -> str:
            return str(self.ask(query, id=answer["backfillId"])["partitionBackfillOrError"]["status"])

        wait_until(lambda: status() not in ("REQUESTED", "FAILING", "CANCELING"), timeout_seconds, "backfill's end")
        return status()

    def runs(self) -> list[dict[str, Any]]:
        query = "{ runsOrError { ... on Runs { results { id status assetSelection { path } tags { key value } } } } }"
        return list(self.ask(query)["runsOrError"]["results"])


def wait_until(is_done: Callable[[], bool], timeout_seconds: float, what: str) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not is_done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come within {timeout_seconds} s")
        time.sleep(0.1)


@contextmanager
def dagster_servers(home: Path, location: list[str], **environment: str) -> Iterator[Server]:
    """Starts both and ends both by their process ids."""
    port = free_port()
    with DagsterInstance.from_config(str(home)):
        pass  # makes its databases: two servers that both make them would get in each other's way
    env = {**os.environ, "DAGSTER_HOME": str(home), **environment}
    commands = [
        ["dagster-webserver", "--host", "127.0.0.1", "--port", str(port), *location],
        [sys.executable, "-c", QUICK_DAEMON, "run", *location],
    ]
    processes = []
    with (home / "servers.log").open("w") as log:
        for command in commands:
            processes.append(
                subprocess.Popen(command, env=env, stdout=log, stderr=log, cwd=home, start_new_session=True)
            )
        try:
            server = Server(f"http://127.0.0.1:{port}")
            wait_until(lambda: _answers(server, processes), PATIENT_SECONDS, f"webserver ({(home / 'servers.log')})")
            yield server
        finally:
            for process in processes:
                os.killpg(process.pid, signal.SIGTERM)
            for process in processes:
                _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(server: Server, processes: "Sequence[subprocess.Popen[bytes]]") -> bool:
    ended = [process.args for process in processes if process.poll() is not None]
    assert not ended, f"ended by itself: {ended}"
    query = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"
    try:
        return bool(server.ask(query)["repositoriesOrError"].get("nodes"))
    except OSError:
        return False


def location_of(folder: Path) -> tuple[list[str], Mapping[str, str]]:
    """Serves the pipeline in a folder over the sample."""
    return ["-m", "ml_platform_tests.location"], {"ML_PLATFORM_TEST_FOLDER": str(folder)}
