"""Runs whose process is gone are marked as failed; those of others are left alone."""

import os
import subprocess
import sys
import uuid
from pathlib import Path

import dagster as dg
import psutil
import pytest
from rich.console import Console

from ml_platform.cli.run import PROCESS_TAG, fail_abandoned_runs
from ml_platform_tests.dagster_internals import create_run_for_test
from ml_platform_tests.platform import open_instance


def started(pid: int) -> str:
    return f"{psutil.Process(pid).create_time():.2f}"


@pytest.fixture
def gone() -> str:
    """The number and start of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        return f"{process.pid} {started(process.pid)}"


@pytest.mark.parametrize(
    ("tag", "status"),
    [
        ("{run} {gone}", dg.DagsterRunStatus.FAILURE),
        ("{run} {here}", dg.DagsterRunStatus.STARTED),
        ("{run} {reused}", dg.DagsterRunStatus.FAILURE),  # another process has its number now
        ("{other} {gone}", dg.DagsterRunStatus.STARTED),  # copied to a retry, which somebody else executes
        ("abc", dg.DagsterRunStatus.STARTED),
        ("99999999999999999999", dg.DagsterRunStatus.STARTED),
    ],
)
def test_only_a_run_of_a_process_that_is_gone_is_failed(
    tmp_path: Path, gone: str, tag: str, status: dg.DagsterRunStatus
) -> None:
    run_id, other = str(uuid.uuid4()), str(uuid.uuid4())
    here = f"{os.getpid()} {started(os.getpid())}"
    text = tag.format(run=run_id, other=other, gone=gone, here=here, reused=f"{os.getpid()} 5.00")
    with open_instance(tmp_path) as instance:
        create_run_for_test(instance, run_id=run_id, status=dg.DagsterRunStatus.STARTED, tags={PROCESS_TAG: text})
        fail_abandoned_runs(instance, Console(quiet=True))
        assert instance.get_run_by_id(run_id).status is status
