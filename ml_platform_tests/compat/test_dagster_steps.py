"""Dagster's executors, and the processes of steps, are as the platform needs them."""

import importlib.util
import inspect
from collections.abc import Iterator
from typing import Any

import click
import dagster as dg
import pytest

from ml_platform.compat import dagster_steps
from ml_platform.compat.dagster import RetryMode, create_execution_plan, replace
from ml_platform.launchers.backends.kubernetes import _Allowed
from ml_platform.launchers.backends.local_steps import LocalSteps
from ml_platform.launchers.executor import RoutingExecutor, _SendingExecutor
from ml_platform.launchers.leases.lease import instance_ref_of
from ml_platform.launchers.runs.relay import _RequestedStep
from ml_platform.launchers.step_router import StepRouter
from ml_platform.launchers.steps.remote_steps import RemoteSteps
from ml_platform_tests.compat.expecting import Expected, has, overrides, takes, uses

EXPECTED = Expected(dagster_steps)


@dg.asset(op_tags={"ml_platform/launcher": "gpu"})
def made() -> None: ...


@dg.repository
def holding() -> list[Any]:
    return [made, dg.define_asset_job("making")]


@dg.job
def sending() -> None: ...


@pytest.fixture
def args() -> Iterator[dagster_steps.ExecuteStepArgs]:
    with dg.instance_for_test() as instance:
        yield step_args(instance)


def step_args(instance: dg.DagsterInstance | None = None) -> dagster_steps.ExecuteStepArgs:
    job = dg.reconstructable(sending)
    ref = instance.get_ref() if instance is not None else None
    return dagster_steps.ExecuteStepArgs(
        job.get_python_origin(), "a-run", ["made"], instance_ref=ref, retry_mode=RetryMode.ENABLED
    )


@pytest.mark.parametrize("name", dagster_steps.__all__)
def test_a_name_is_as_it_is_needed(name: str) -> None:
    EXPECTED.of[name]()


def test_something_is_expected_of_every_name() -> None:
    EXPECTED.is_complete()


def test_the_command_of_a_step_says_of_which_instance_it_is(args: dagster_steps.ExecuteStepArgs) -> None:
    assert instance_ref_of(args.get_command_args(), {}) == args.instance_ref
    variables = {one["name"]: one["value"] for one in args.get_command_env()}
    assert instance_ref_of(args.get_command_args(skip_serialized_namedtuple=True), variables) == args.instance_ref
    assert list(args.get_command_args()[:3]) == ["dagster", "api", "execute_step"]


@EXPECTED("MODULES_OF_STEPS")
def what_a_process_of_a_step_imports() -> None:
    assert [one for one in dagster_steps.MODULES_OF_STEPS if importlib.util.find_spec(one) is None] == []


@EXPECTED("CheckStepHealthResult")
def health_of_a_step() -> None:
    assert dagster_steps.CheckStepHealthResult.healthy().is_healthy
    found = dagster_steps.CheckStepHealthResult.unhealthy("it is gone")
    assert (found.is_healthy, found.unhealthy_reason) == (False, "it is gone")


@EXPECTED("ExecuteRunArgs", "ResumeRunArgs")
def commands_of_runs() -> None:
    for kind, word in ((dagster_steps.ExecuteRunArgs, "execute_run"), (dagster_steps.ResumeRunArgs, "resume_run")):
        takes(kind, "job_origin", "run_id", "instance_ref", "set_exit_code_on_failure")
        command = kind(step_args().job_origin, "a-run", None, True).get_command_args()
        assert list(command[:3]) == ["dagster", "api", word]
        assert instance_ref_of(command, {}) is None  # it is the last that the command says


@EXPECTED("ExecuteStepArgs")
def the_command_of_a_step() -> None:
    args = step_args()
    has(args, "run_id step_keys_to_execute instance_ref retry_mode known_state should_verify_step get_command_args")
    assert dg.deserialize_value(dg.serialize_value(args), dagster_steps.ExecuteStepArgs) == args
    assert replace(replace(args, should_verify_step=True), should_verify_step=False) == args
    state = create_execution_plan(holding.get_job("making")).known_state
    assert replace(args, known_state=state).known_state.get_retry_state().get_attempt_count("made") == 0


@EXPECTED("ExecutionPlanSnapshot", "ExecutionStepSnap", "snapshot_from_execution_plan")
def stored_plans() -> None:
    plan = create_execution_plan(holding.get_job("making"))
    snapshot = dagster_steps.snapshot_from_execution_plan(plan, "")
    assert isinstance(snapshot, dagster_steps.ExecutionPlanSnapshot)
    assert snapshot.step_keys_to_execute == ["made"]
    (step,) = snapshot.steps
    assert isinstance(step, dagster_steps.ExecutionStepSnap)
    assert (step.key, step.tags["ml_platform/launcher"]) == ("made", "gpu")
    assert set(step.entity_keys) == {dg.AssetKey("made")}
    assert [one.properties.asset_key for one in plan.get_step_by_key("made").step_outputs] == [dg.AssetKey("made")]


@EXPECTED("InProcessExecutor")
def executing_in_this_process() -> None:
    takes(dagster_steps.InProcessExecutor, "retries")
    takes(dagster_steps.InProcessExecutor.execute, "plan_context", "execution_plan")
    overrides(RoutingExecutor, dg.Executor, "execute retries")


@EXPECTED("StepDelegatingExecutor")
def executing_elsewhere() -> None:
    theirs = dagster_steps.StepDelegatingExecutor
    named = "check_step_health_interval_seconds should_verify_step"
    takes(theirs, "step_handler", "retries", named=named)
    overrides(_SendingExecutor, theirs, "execute _pop_events _get_step_handler_context")
    uses(theirs.execute, "_pop_events _get_step_handler_context _sleep_seconds")
    uses(theirs.__init__, "_sleep_seconds")
    takes(theirs.log_failure_or_retry_event_after_error, "step_context", "err_info", "known_state")
    takes(theirs._pop_events, "instance", "run_id", "seen_storage_ids")


@EXPECTED("StepHandler")
def what_starts_steps() -> None:
    for ours in (LocalSteps, StepRouter, RemoteSteps):
        overrides(ours, dagster_steps.StepHandler, "name launch_step check_step_health terminate_step")
    assert dagster_steps.StepHandler.__abstractmethods__ == {
        "name", "launch_step", "check_step_health", "terminate_step"
    }  # fmt: skip


@EXPECTED("StepHandlerContext", "plan_context_of", "step_in")
def what_is_known_of_a_step_that_is_started() -> None:
    takes(dagster_steps.StepHandlerContext, "instance", "plan_context", "steps", "execute_step_args", "dagster_run")
    for ours in (_Allowed, _RequestedStep):
        overrides(ours, dagster_steps.StepHandlerContext, "step_tags get_step_context")
    plan: Any = create_execution_plan(holding.get_job("making"))
    step, plan_context, args = plan.get_step_by_key("made"), object(), step_args()
    run = dg.DagsterRun("making")
    with dg.DagsterInstance.ephemeral() as instance:
        context = dagster_steps.StepHandlerContext(instance, plan_context, [step], args, run)  # type: ignore[arg-type]
        assert (context.instance, context.execute_step_args, context.dagster_run) == (instance, args, run)
        assert context.step_tags["made"]["ml_platform/launcher"] == "gpu"
        assert dagster_steps.plan_context_of(context) is plan_context
        assert dagster_steps.step_in(context, "made") is step
        # Ours have no plan: whatever else is asked of them must not need one.
        without: Any = dagster_steps.StepHandlerContext(instance, None, [], args, run)  # type: ignore[arg-type]
        assert without.execute_step_args is args


@EXPECTED("command_line")
def the_whole_command() -> None:
    assert inspect.signature(dagster_steps.command_line()).parameters == {}


@EXPECTED("step_command_body")
def what_the_command_of_a_step_does() -> None:
    body = dagster_steps.step_command_body()
    takes(body, "args", "instance", "dagster_run")
    assert inspect.isgeneratorfunction(body)
    from dagster._cli.api import api_cli

    assert isinstance(api_cli, click.Group)
    assert {"execute_run", "resume_run", "execute_step"} <= set(api_cli.commands)
    names = {name for one in api_cli.commands["execute_step"].params for name in (*one.opts, one.envvar)}
    assert {"--compressed-input-json", "DAGSTER_COMPRESSED_EXECUTE_STEP_ARGS"} <= names
