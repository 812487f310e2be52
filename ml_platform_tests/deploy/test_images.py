"""Images are made by scripts that are tried here, in a fresh environment."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ml_platform_tests.repository import project_root

DOCKER = project_root() / "deploy/docker"
NOBODY = 10001  # the account of the images


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """What an image is made of: what the Dockerfile's own list lets through."""
    for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines():
        if line.startswith("!"):
            source, target = project_root() / line[1:], tmp_path / "context" / line[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, target, ignore=ignored) if source.is_dir() else shutil.copy(source, target)
    return tmp_path / "context"


def install(context: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [str(context / "deploy/docker/install"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)


def test_an_image_is_made_by_the_script_alone_and_is_not_root() -> None:
    lines = (DOCKER / "Dockerfile").read_text().splitlines()
    runs = [json.loads(line.removeprefix("RUN ")) for line in lines if line.startswith("RUN ")]
    assert runs == [["/opt/ml_platform/deploy/docker/install", "/opt/venv"]]
    assert [line for line in lines if line.startswith("USER ")] == [f"USER {NOBODY}:{NOBODY}"]
    bases = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert all(":" in base and not base.endswith(":latest") for base in bases)


def test_a_folder_that_is_there_and_another_python_are_refused(context: Path, tmp_path: Path) -> None:
    refused = install(context, str(tmp_path), sys.executable)
    assert (refused.returncode, refused.stderr) == (
        1,
        f"install: {tmp_path} is there already; an image begins with nothing\n",
    )
    old = tmp_path / "python"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && echo Python 3.9.2 || exit 1\n')
    old.chmod(0o755)
    refused = install(context, str(tmp_path / "venv"), str(old))
    assert (refused.returncode, refused.stderr) == (
        1,
        f"install: Python 3.11 or 3.12 is needed, {old} is Python 3.9.2\n",
    )


@pytest.mark.full
def test_a_failed_installation_fails_the_image(context: Path, tmp_path: Path) -> None:
    (context / "constraints.txt").unlink()
    assert install(context, str(tmp_path / "venv"), sys.executable).returncode != 0


USES = """
from ml_platform.definitions import defs
from ml_platform.storages.postgres import KeptPostgresStorage
import dagster_k8s, s3fs, torch
print(len(list(defs().resolve_all_asset_specs())) > 0)
"""


@pytest.mark.soak
def test_what_the_script_installs_works_by_itself(context: Path, tmp_path: Path) -> None:
    venv, home = tmp_path / "venv", tmp_path / "home"
    done = install(context, str(venv), sys.executable)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(context)  # the image has the environment alone
    home.mkdir()
    env = {"PATH": f"{venv}/bin:/usr/bin:/bin", "HOME": str(home), "USER": "ml_platform", "DAGSTER_HOME": str(home)}

    def run(*command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [f"{venv}/bin/{command[0]}", *command[1:]], env=env, cwd=home, capture_output=True, text=True, check=False
        )

    assert (used := run("python", "-c", USES)).stdout == "True\n", used.stderr
    for command in ("dagster", "dagster-daemon", "dagster-webserver", "ml-platform"):
        assert (helped := run(command, "--help")).returncode == 0, helped.stderr
