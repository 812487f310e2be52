"""What `import dagster` loads, and Dagster does not promise, is as the platform needs it."""

import signal
import sys
import tempfile
import threading
from typing import Any

import dagster as dg
import pytest

from ml_platform.compat import dagster
from ml_platform.launchers import LocalRunLauncher, RoutingRunCoordinator, RoutingRunLauncher
from ml_platform_tests import dagster_internals
from ml_platform_tests.compat.expecting import Expected, are_all, has, overrides, takes
from ml_platform_tests.conftest import run_python

EXPECTED = Expected(dagster)


@dg.op(tags={"ml_platform/launcher": "gpu"})
def add() -> int:
    return 1


@dg.job
def adding() -> None:
    add()


@pytest.mark.parametrize("name", dagster.__all__)
def test_a_name_is_as_it_is_needed(name: str) -> None:
    EXPECTED.of[name]()


def test_something_is_expected_of_every_name() -> None:
    EXPECTED.is_complete()


def test_loading_the_door_loads_nothing_that_dagster_does_not() -> None:
    code = """
import sys, dagster
before = set(sys.modules)
import ml_platform.compat.dagster
print(*sorted(set(sys.modules) - before))
"""
    assert run_python(code).split() == ["ml_platform", "ml_platform.compat", "ml_platform.compat.dagster"]


@pytest.mark.parametrize("name", sorted(dagster_internals.MODULES))
def test_a_name_that_tests_need_is_there(name: str) -> None:
    assert callable(getattr(dagster_internals, name))


@EXPECTED("ASSET_EVENTS")
def events_of_assets() -> None:
    are_all(dagster.ASSET_EVENTS, dg.DagsterEventType, "ASSET_MATERIALIZATION ASSET_OBSERVATION")


@EXPECTED("ASSET_CHECK_EVENTS")
def events_of_checks() -> None:
    are_all(dagster.ASSET_CHECK_EVENTS, dg.DagsterEventType, "ASSET_CHECK_EVALUATION ASSET_CHECK_EVALUATION_PLANNED")
    assert not set(dagster.ASSET_CHECK_EVENTS) & set(dagster.ASSET_EVENTS)


@EXPECTED("ASSET_PARTITION_RANGE_END_TAG", "ASSET_PARTITION_RANGE_START_TAG", "PARTITION_NAME_TAG")
def tags_of_partitions() -> None:
    # They stand in runs that are stored: another text would be another meaning.
    assert dagster.PARTITION_NAME_TAG == "dagster/partition"
    assert dagster.ASSET_PARTITION_RANGE_START_TAG == "dagster/asset_partition_range_start"
    assert dagster.ASSET_PARTITION_RANGE_END_TAG == "dagster/asset_partition_range_end"


@EXPECTED("DATA_VERSION_TAG")
def tag_of_data_versions() -> None:
    assert dagster.DATA_VERSION_TAG == "dagster/data_version"


@EXPECTED("NOT_FINISHED_STATUSES")
def statuses_of_unfinished_runs() -> None:
    are_all(dagster.NOT_FINISHED_STATUSES, dg.DagsterRunStatus, "NOT_STARTED QUEUED STARTING STARTED CANCELING")
    assert not {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE} & set(dagster.NOT_FINISHED_STATUSES)


@EXPECTED("CheckRunHealthResult")
def health_of_a_run() -> None:
    found = dagster.CheckRunHealthResult(dagster.WorkerStatus.FAILED, "it is gone")
    assert (found.status, found.msg) == (dagster.WorkerStatus.FAILED, "it is gone")


@EXPECTED("WorkerStatus")
def statuses_of_workers() -> None:
    has(dagster.WorkerStatus, "RUNNING FAILED UNKNOWN")


@EXPECTED("LaunchRunContext")
def what_a_launcher_is_told() -> None:
    takes(dagster.LaunchRunContext, "dagster_run", "workspace")
    made = dagster.LaunchRunContext(dg.DagsterRun("adding"), None)
    assert made._replace(dagster_run=dg.DagsterRun("other")).dagster_run.job_name == "other"
    assert made.workspace is None


@EXPECTED("ResumeRunContext")
def what_a_launcher_is_told_that_goes_on() -> None:
    takes(dagster.ResumeRunContext, "dagster_run", "workspace", "resume_attempt_number")
    made = dagster.ResumeRunContext(dg.DagsterRun("adding"), None, 2)
    assert made._replace(dagster_run=dg.DagsterRun("other")).dagster_run.job_name == "other"


LAUNCHER = (
    "launch_run resume_run supports_resume_run terminate supports_check_run_worker_health check_run_worker_health "
    "get_run_worker_debug_info"
)


@EXPECTED("RunLauncher")
def a_launcher() -> None:
    overrides(LocalRunLauncher, dagster.RunLauncher, LAUNCHER)
    overrides(RoutingRunLauncher, dagster.RunLauncher, f"{LAUNCHER} join dispose")
    takes(dagster.RunLauncher.register_instance, "instance")
    takes(dagster.RunLauncher.__init__)
    _ = dagster.RunLauncher[dg.DagsterInstance]


@EXPECTED("ConfigurableClass")
def what_yaml_builds() -> None:
    for ours in (LocalRunLauncher, RoutingRunLauncher):
        overrides(ours, dagster.ConfigurableClass, "inst_data config_type from_config_value")


@EXPECTED("ConfigurableClassData")
def what_yaml_says_of_building() -> None:
    takes(dagster.ConfigurableClassData, "module_name", "class_name", "config_yaml")
    data = dagster.ConfigurableClassData("ml_platform.launchers", "LocalRunLauncher", "cores: 2\n")
    built: Any = data.rehydrate(as_type=dagster.RunLauncher)
    assert (type(built), built.cores.each, built.inst_data) == (LocalRunLauncher, 2, data)
    assert (data.module_name, data.config_yaml) == ("ml_platform.launchers", "cores: 2\n")
    assert dg.deserialize_value(dg.serialize_value(data)) == data
    wrong = dagster.ConfigurableClassData("ml_platform.launchers", "LocalRunLauncher", "cores: many\n")
    with pytest.raises(dg.DagsterInvalidConfigError) as error:
        wrong.rehydrate(as_type=dagster.RunLauncher)
    assert 'Value "many" of type' in error.value.errors[0].message


@EXPECTED("RunQueueConfig")
def limits_of_the_queue() -> None:
    limit = {"key": "waits", "value": "1", "limit": 0}
    config = dagster.RunQueueConfig(max_concurrent_runs=1, tag_concurrency_limits=[])
    assert config._replace(tag_concurrency_limits=[limit]).tag_concurrency_limits == [limit]
    overrides(RoutingRunCoordinator, dg.QueuedRunCoordinator, "submit_run get_run_queue_config dequeue_use_threads")


@EXPECTED("EngineEventData", "SerializableErrorInfo", "serializable_error_info_from_exc_info")
def what_events_say() -> None:
    try:
        try:
            raise ValueError("CUDA out of memory")
        except ValueError as inner:
            raise RuntimeError("around it") from inner
    except RuntimeError:
        error = dagster.serializable_error_info_from_exc_info(sys.exc_info())
    assert isinstance(error, dagster.SerializableErrorInfo)
    assert (error.cls_name, error.message) == ("RuntimeError", "RuntimeError: around it\n")
    assert error.cause is not None
    assert "CUDA out of memory" in error.cause.message
    assert error.cause.cause is None
    assert dagster.EngineEventData.engine_error(error).error == error
    assert dagster.EngineEventData().error is None
    takes(dg.DagsterEvent.engine_event, "plan_context", "message", "event_specific_data")
    takes(dg.DagsterEvent.step_worker_starting, "step_context", "message", "metadata")


@EXPECTED("ComponentTreeException")
def what_wraps_a_mistake() -> None:
    assert issubclass(dagster.ComponentTreeException, Exception)


@EXPECTED("LazyDefinitions")
def definitions_of_a_function() -> None:
    found = dg.definitions(lambda: dg.Definitions(jobs=[adding]))
    assert isinstance(found, dagster.LazyDefinitions)
    assert isinstance(found(), dg.Definitions)


@EXPECTED("create_execution_plan", "ExecutionPlan", "ExecutionStep", "StepHandle", "StepKind")
def a_plan() -> None:
    takes(
        dagster.create_execution_plan,
        "job",
        named="run_config step_keys_to_execute known_state repository_load_data",
    )
    plan = dagster.create_execution_plan(adding)
    assert isinstance(plan, dagster.ExecutionPlan)
    (step,) = plan.get_steps_to_execute_in_topo_order()
    assert isinstance(step, dagster.ExecutionStep)
    assert plan.get_step_by_key("add") is step
    assert (step.key, step.kind, step.tags["ml_platform/launcher"]) == ("add", dagster.StepKind.COMPUTE, "gpu")
    assert [one.properties.asset_key for one in step.step_outputs] == [None]
    handle = dagster.StepHandle.parse_from_key("add")
    assert (handle, handle.node_handle, handle.node_handle.name) == (step.handle, step.node_handle, "add")
    assert adding.graph.get_node(step.node_handle).definition.compute_fn.decorated_fn is add.compute_fn.decorated_fn
    assert plan.repository_load_data is None


@EXPECTED("execute_plan_iterator")
def executing_a_plan() -> None:
    takes(
        dagster.execute_plan_iterator,
        "execution_plan",
        "job",
        "dagster_run",
        "instance",
        named="retry_mode run_config",
    )


@EXPECTED("PlanOrchestrationContext")
def the_context_of_a_run() -> None:
    has(
        dagster.PlanOrchestrationContext,
        "dagster_run execution_plan for_step instance job reconstructable_job run_config run_id resume_from_failure",
    )
    takes(dagster.PlanOrchestrationContext, named="plan_data log_manager executor output_capture resume_from_failure")
    has(dg.reconstructable(adding), "get_definition get_module")


@EXPECTED("RetryMode", "get_retries_config", "not_none")
def whether_steps_are_tried_again() -> None:
    config = dagster.resolve_to_config_type({"retries": dagster.get_retries_config()})
    for given, mode in (("enabled", "ENABLED"), ("disabled", "DISABLED")):
        assert dagster.process_config(config, {"retries": {given: {}}}).success
        assert dagster.not_none(dagster.RetryMode.from_config({given: {}})) is dagster.RetryMode[mode]
    with pytest.raises(Exception, match="None"):
        dagster.not_none(None)


@EXPECTED("process_config", "resolve_to_config_type")
def looking_at_a_configuration() -> None:
    kind = dagster.resolve_to_config_type(RoutingRunLauncher.config_type())
    child = {"module": "ml_platform.launchers", "class": "LocalRunLauncher"}
    assert dagster.process_config(kind, {"default": "cpu", "launchers": {"cpu": child}}).success
    wrong = dagster.process_config(kind, {"default": "cpu"})
    assert not wrong.success
    assert "launchers" in wrong.errors[0].message


@EXPECTED("InstanceRef")
def where_an_instance_is() -> None:
    has(dagster.InstanceRef, "run_storage from_dir _asdict")
    with dg.instance_for_test() as instance:
        ref = instance.get_ref()
        assert isinstance(ref, dagster.InstanceRef)
        assert dg.deserialize_value(dg.serialize_value(ref)) == ref
        assert any(isinstance(part, dagster.ConfigurableClassData) for part in ref._asdict().values())
        with dg.DagsterInstance.from_ref(ref) as again:
            assert again.root_directory == instance.root_directory


@EXPECTED("replace")
def a_changed_copy() -> None:
    error = dagster.SerializableErrorInfo("before", [], None)
    assert dagster.replace(error, message="after").message == "after"
    assert error.message == "before"


@EXPECTED("capture_interrupts")
def interrupting() -> None:
    with dagster.capture_interrupts():
        is_main = threading.current_thread() is threading.main_thread()
        assert not is_main or signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, signal.SIG_IGN)


@EXPECTED("instance_of")
def the_instance_of_a_launcher() -> None:
    launcher = LocalRunLauncher()
    with dg.DagsterInstance.ephemeral() as instance:
        launcher.register_instance(instance)
        assert dagster.instance_of(launcher) is instance
        assert launcher._instance is instance  # as our launchers read it


@EXPECTED("storage_of_runs", "url_of_storage")
def the_database_of_runs() -> None:
    with tempfile.TemporaryDirectory() as folder:
        kept = {"module": "dagster._core.storage.sqlite_storage", "class": "DagsterSqliteStorage"}
        together = {"storage": {"custom": {**kept, "config": {"base_dir": folder}}}}
        with dg.instance_for_test(overrides=together) as instance:
            wrapping = instance.get_ref()
            storage = dagster.storage_of_runs(wrapping)
            assert type(storage) is not type(wrapping.run_storage)
            assert callable(storage.get_run_storage_id)
            url = dagster.url_of_storage(storage)
            assert url.startswith(f"sqlite:///{folder}")
            assert dagster.url_of_storage(dagster.storage_of_runs(instance)) == url
    with dg.DagsterInstance.ephemeral() as instance:
        assert dagster.url_of_storage(dagster.storage_of_runs(instance)) is None
