"""What dagster-ray, and Ray's client, do not promise is as the platform needs it."""

import json

import pytest
from dagster_ray import RayRunLauncher
from ray.job_submission import JobStatus, JobSubmissionClient

from ml_platform.compat import dagster_ray
from ml_platform.launchers.backends.registry import _BACKENDS
from ml_platform_tests.compat.expecting import Expected, has, takes

EXPECTED = Expected(dagster_ray)


@pytest.mark.parametrize("name", dagster_ray.__all__)
def test_a_name_is_as_it_is_needed(name: str) -> None:
    EXPECTED.of[name]()


def test_something_is_expected_of_every_name() -> None:
    EXPECTED.is_complete()


def test_a_launcher_says_how_it_is_configured() -> None:
    launcher = RayRunLauncher("http://127.0.0.1:1", env_vars=["A=1"])
    has(launcher, "address metadata headers cookies env_vars runtime_env num_cpus num_gpus memory resources")
    takes(RayRunLauncher.get_run_worker_debug_info, "run", "include_container_logs")
    assert f"{RayRunLauncher.__module__}.{RayRunLauncher.__qualname__}" in _BACKENDS


def test_rays_client_asks_and_fails_where_ours_stands_over_it() -> None:
    takes(JobSubmissionClient._do_request, "method", "endpoint", named="timeout")
    takes(JobSubmissionClient._raise_error, "r")
    submitted = "entrypoint submission_id runtime_env metadata entrypoint_num_cpus entrypoint_num_gpus"
    takes(JobSubmissionClient.submit_job, named=f"{submitted} entrypoint_memory entrypoint_resources")
    has(JobSubmissionClient, "get_job_info stop_job list_jobs get_job_logs")
    assert {"PENDING", "SUCCEEDED", "STOPPED"} <= {str(one) for one in JobStatus}
    assert JobStatus.FAILED.is_terminal()


@EXPECTED("RayExecutionConfig")
def what_tags_ask_for() -> None:
    asked = {"num_cpus": 2.0, "num_gpus": 1.0, "memory": 8, "resources": {"disk": 1.0}, "runtime_env": {"pip": ["a"]}}
    found = dagster_ray.RayExecutionConfig.from_tags({"dagster-ray/config": json.dumps(asked)})
    assert {name: getattr(found, name) for name in asked} == asked
    assert dagster_ray.RayExecutionConfig.from_tags({}).num_cpus is None


@EXPECTED("resolve_env_vars_list")
def variables() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FROM_HERE", "here")
        found = dagster_ray.resolve_env_vars_list(["GIVEN=a=b", "FROM_HERE", "NOWHERE"])
    assert found == {"GIVEN": "a=b", "FROM_HERE": "here"}
    assert dagster_ray.resolve_env_vars_list(None) == {}
