"""`deploy/audit` says what is vulnerable, and says so where it could look nothing up."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ml_platform_tests import tiers
from ml_platform_tests.repository import project_root

FLAW = {"id": "PYSEC-2099-1", "modified": "2026-01-01T00:00:00Z", "published": "2026-01-01T00:00:00Z", "details": ""}


class Service(ThreadingHTTPServer):
    """A service that speaks OSV, and knows one flaw."""

    flawed = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class _Answer(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        package = {"name": asked["package"]["name"], "ecosystem": "PyPI"}
        fixed = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "9999.1"}]}]
        affected = [{"package": package, "ranges": fixed, "versions": [asked["version"]]}]
        is_flawed = package["name"] == self.server.flawed
        said = json.dumps({"vulns": [FLAW | {"affected": affected}]} if is_flawed else {}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, format: str, *_: object) -> None:
        return


@pytest.fixture
def service() -> Iterator[Service]:
    with Service(("127.0.0.1", 0), _Answer) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        yield service
        service.shutdown()


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """An interpreter that says three distributions are installed: asking about all takes half a minute."""
    stand_in = tmp_path / "python"
    listed = r"fsspec==2026.9.0\ntorch==2.13.0+cpu\nPyYAML==6.0.3\n"
    stand_in.write_text(
        f'#!/bin/sh\ncase "$*" in *freeze*) printf "{listed}" ;; *) exec {sys.executable} "$@" ;; esac\n'
    )
    stand_in.chmod(0o755)
    return stand_in


def audit(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(project_root() / "deploy" / "audit"), "--vulnerability-service", "osv", *arguments]
    return subprocess.run(
        command, env={"PYTHON": str(python), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(("flawed", "status", "told"), tiers.cases("vulnerabilities", [
    ("fsspec", 1, "fsspec 2026.9.0: PYSEC-2099-1, fixed in: 9999.1\naudit: 3 distributions looked up, 1 known"),
    ("", 0, "audit: 3 distributions looked up, 0 known vulnerabilities\n"),
    ("torch", 1, "torch 2.13.0: PYSEC-2099-1, fixed in: 9999.1\n"),
]))  # fmt: skip
def test_a_known_vulnerability_fails_the_audit(
    service: Service, python: Path, flawed: str, status: int, told: str
) -> None:
    service.flawed = flawed
    done = audit(python, "--osv-url", service.url)
    assert (done.returncode, told in done.stdout) == (status, True), done.stdout + done.stderr


def test_without_a_service_the_audit_says_that_nothing_was_audited(python: Path) -> None:
    done = audit(python, "--osv-url", "http://127.0.0.1:9/")
    assert done.returncode == 2
    assert "audit: nothing was audited" in done.stderr
