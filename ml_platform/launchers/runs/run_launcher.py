"""Defines the run launcher of `dagster.yaml` that sends each run to one of several launchers."""

from collections.abc import Mapping
from dataclasses import fields
from functools import cached_property
from typing import Any

import dagster as dg

from ml_platform.compat.dagster import (
    CheckRunHealthResult,
    ConfigurableClass,
    ConfigurableClassData,
    LaunchRunContext,
    ResumeRunContext,
    RunLauncher,
    WorkerStatus,
)
from ml_platform.databases import through_outages
from ml_platform.errors import LaunchError, expected_one_of
from ml_platform.launchers.backends.configured_launchers import ConfiguredLaunchers
from ml_platform.launchers.backends.local import LocalRunLauncher
from ml_platform.launchers.backends.local_steps import LocalSteps
from ml_platform.launchers.backends.protocol import Timeouts
from ml_platform.launchers.leases.schema import Launch, work_of
from ml_platform.launchers.routes import LAUNCHER_TAG, Route, route_of
from ml_platform.launchers.runs.starter import RunStarter, why_closed
from ml_platform.launchers.steps.remote_steps import Fail, RemoteSteps
from ml_platform.launchers.steps.requests import RelayedBackend, RelayedSteps
from ml_platform.launchers.tag_policy import TagPolicy


class RoutingRunLauncher(RunLauncher[Any], ConfigurableClass):
    """Sends each run to the launcher that its steps ask for.

    Args:
        default: the launcher of steps that ask for none, and of runs whose steps ask for several.
        launchers: name to `{module, class, config}` of any of Dagster's run launchers.
        timeouts: how long to wait for what; see `Timeouts`.
        tag_policy: what a run's tags may ask for; see `TagPolicy`.
        steps_started_by: who starts single steps on launchers other than local ones: the `run`, whose process talks to
            them then, or the `reconciler` for it, so that pods of runs need no access to their cluster.
    """

    def __init__(
        self,
        default: str,
        launchers: Mapping[str, Mapping[str, Any]],
        timeouts: Mapping[str, float] | None = None,
        tag_policy: Mapping[str, int] | None = None,
        steps_started_by: str = "run",
        inst_data: ConfigurableClassData | None = None,
    ):
        if default not in launchers:
            raise LaunchError(
                f"the default launcher {default!r} is not among those in dagster.yaml; "
                f"{expected_one_of(default, launchers)}"
            )
        self.default = default
        self.children = ConfiguredLaunchers(launchers, lambda: self._instance)
        self.timeouts = Timeouts(**timeouts or {})
        self.tag_policy = TagPolicy(**tag_policy or {})
        self.steps_started_by = steps_started_by
        self._inst_data = inst_data
        super().__init__()

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """Returns what the instance's configuration says of this launcher."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Returns what `dagster.yaml` may say."""
        child = {"module": str, "class": str, "config": dg.Field(dg.Permissive(), is_required=False)}
        timeouts = {one.name: dg.Field(float, is_required=False) for one in fields(Timeouts)}
        policy = {one.name: dg.Field(int, is_required=False) for one in fields(TagPolicy)}
        return {
            "default": str,
            "launchers": dg.Field(dg.Map(str, dg.Shape(child), key_label_name="name")),
            "timeouts": dg.Field(timeouts, is_required=False, description="How long to wait for what, in seconds."),
            "tag_policy": dg.Field(policy, is_required=False, description="What a run's tags may ask for, at most."),
            "steps_started_by": dg.Field(
                dg.Enum("StepsStartedBy", [dg.EnumValue("run"), dg.EnumValue("reconciler")]),
                default_value="run",
                description="Who starts single steps on launchers: the run's process, or the reconciler for it.",
            ),
        }

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "RoutingRunLauncher":
        """Builds the launcher from `dagster.yaml`; its children are built when they are needed."""
        return cls(inst_data=inst_data, **config_value)

    @cached_property
    def starter(self) -> RunStarter:
        """Starts runs by way of the launch table, and looks after them."""
        return RunStarter(self._instance, self.children, self.timeouts, self.route, self.tag_policy)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Finds where the run goes, writes it down, and has it launched there; or put off, while nothing can be.

        Raises:
            LaunchError: a step that asks for a launcher which does not exist, cannot be set up or takes no steps.
        """
        run = context.dagster_run
        try:
            through_outages(lambda: self._start(context))
        except LaunchError as error:
            # Dagster shows an exception by its class; the run's log says it in words too.
            self._instance.report_engine_event(f"Not launched: {error}", run, cls=type(self))
            raise

    def _start(self, context: LaunchRunContext) -> None:
        launch = self._intended(context)
        if launch.is_open:
            self.starter.start(launch, context)
            return
        message = f"Not launched again: process {launch.pid} on {launch.host} had it ({why_closed(launch)})."
        self._instance.report_engine_event(message, context.dagster_run, cls=type(self))

    def _intended(self, context: LaunchRunContext) -> Launch:
        """Returns the run's open launch; opens one where none is, unless a process had the run already."""
        run, workspace, launches = context.dagster_run, context.workspace, self.starter.launches
        last = launches.last(run.run_id)
        # A daemon may launch a run again that it believes lost; one that a process had goes on by `resume_run` only.
        if last is not None and (last.is_open or last.acquired is not None):
            return last

        def tags_of_asset(key: dg.AssetKey) -> Mapping[str, str]:
            graph = workspace.asset_graph if workspace is not None else None
            return graph.get(key).tags if graph is not None and graph.has(key) else {}

        route = self.route(run, tags_of_asset)
        self._instance.report_engine_event(f"This run goes to {route}.", run, cls=type(self))
        # For filtering in the UI alone; the route itself stands in the launch table, where no user can write.
        self._instance.add_run_tags(run.run_id, {LAUNCHER_TAG: route.launcher})
        return launches.intend(work_of(run), route.launcher, route)

    def route(self, run: dg.DagsterRun, tags_of_asset: Any = lambda _: {}) -> Route:
        """Reads a run's route from its plan.

        Raises:
            LaunchError: a step that asks for a launcher which does not exist or takes no single steps.
        """
        plan_id = run.execution_plan_snapshot_id
        if plan_id is None:
            raise LaunchError(f"run {run.run_id} has no plan to read its route from; launch its job again")
        plan = self._instance.get_execution_plan_snapshot(plan_id)
        known = list(self.children)
        route = route_of(
            plan,
            run.step_keys_to_execute,
            self.default,
            known,
            tags_of_asset,
            lambda step: self.starter.level_of(run, step),
        )
        for step, launcher in route.elsewhere.items():
            self.require_steps(step, launcher)
        return route

    def steps_of(self, name: str, fail: Fail) -> LocalSteps | RemoteSteps:
        """Returns what sends single steps to a launcher.

        Raises:
            LaunchError: the launcher cannot be set up.
        """
        launches = self.starter.launches
        if self.steps_started_by == "reconciler" and not issubclass(self.children.class_of(name), LocalRunLauncher):
            return RemoteSteps(
                name, RelayedSteps(RelayedBackend(launches, self.timeouts)), launches, self.timeouts, fail
            )
        handler = self.creator_of(name)
        if isinstance(handler, LocalSteps):
            handler.launcher = name
            return handler
        return RemoteSteps(name, handler, launches, self.timeouts, fail)

    def creator_of(self, name: str) -> Any:
        """Returns what creates single steps on a launcher, in a process that may talk to it.

        Raises:
            LaunchError: the launcher cannot be set up.
        """
        make = self.children.backend_spec(name).step_handler
        assert make is not None, f"launcher {name} takes steps: the route was refused otherwise"
        backend = self.starter.backend(name)
        return self.children.using(name, lambda child: make(child, backend))

    def require_steps(self, step: str, launcher: str) -> None:
        """Refuses to send a single step to a launcher that takes whole runs only."""
        if self.children.backend_spec(launcher).step_handler is None:
            raise LaunchError(
                f"step {step} asks for launcher {launcher}, a {self.children.class_of(launcher).__name__}, which takes "
                f"whole runs only; run it without steps of other launchers, or give {launcher} another class"
            )

    def recorded(self, run: dg.DagsterRun) -> Route | None:
        """Reads where a run was sent when it was launched last; None if it never was.

        It stands in the launch table, where no user of the UI can write; a run's tags are anybody's.
        """
        last = self.starter.launches.last(run.run_id)
        return None if last is None else last.route

    @property
    def supports_resume_run(self) -> bool:
        """Says yes for all children: one that cannot resume says so when it is asked to."""
        return True

    def resume_run(self, context: ResumeRunContext) -> None:
        """Resumes the run where it was launched, unless a process executes it or is about to."""
        run = context.dagster_run
        launches = self.starter.launches
        last = launches.last(run.run_id)
        # Dagster's monitoring may be wrong about a run: the launch is looked at first, and an open one is left alone.
        if last is not None and last.is_open:
            self.starter.reconcile(last)
            last = launches.last(run.run_id)
        if last is not None and last.is_open:
            message = f"Not resumed: launch {last.lease_id} on {last.launcher} is open."
            self._instance.report_engine_event(message, run, cls=type(self))
            return
        if last is not None and not self.children[last.launcher].supports_resume_run:
            name = type(self.children[last.launcher]).__name__
            raise LaunchError(f"launcher {last.launcher} ({name}) cannot resume runs; re-execute the run")
        self.starter.restart(run, last)

    def terminate(self, run_id: str) -> bool:
        """Ends the run where it was launched; the reconciler goes on until nothing of it is left."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        launch = self.starter.launches.last(run_id)
        if launch is None or not launch.is_open:
            message = "No launcher has this run in a process: end it where it executes."
            self._instance.report_engine_event(message, run, cls=type(self))
            return False
        # Canceling first: the run's process must know, when it is interrupted, that it is not to be tried again.
        self._instance.report_run_canceling(run)
        self.starter.end(launch)
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Says yes for all children: the runs of one that cannot tell count as healthy."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Says whether a process executes the run; one that nobody can ask about is not dead."""
        launches = self.starter.launches
        launch = launches.last(run.run_id)
        if launch is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "no launcher started this run")
        if launch.is_open:
            self.starter.reconcile(launch)
            launch = launches.last(run.run_id)
            assert launch is not None
        if launch.is_open or self.starter.go_on(run):
            return CheckRunHealthResult(WorkerStatus.RUNNING, launch.reason)
        return CheckRunHealthResult(WorkerStatus.FAILED, f"its process is gone: {why_closed(launch)}")

    def get_run_worker_debug_info(self, run: dg.DagsterRun, include_container_logs: bool | None = True) -> str | None:
        """Asks the launcher that the run was sent to."""
        launch = self.starter.launches.last(run.run_id)
        if launch is None:
            return None
        return self.children[launch.launcher].get_run_worker_debug_info(run, include_container_logs)

    def join(self, timeout: int = 30) -> None:
        """Waits for the runs of the children that were built."""
        for child in self.children.built():
            child.join(timeout)

    def dispose(self) -> None:
        """Disposes of the children that were built."""
        for child in self.children.built():
            child.dispose()


def routing_launcher_of(instance: dg.DagsterInstance) -> RoutingRunLauncher:
    """Returns an instance's launcher, which has the others by name.

    Raises:
        LaunchError: it is another.
    """
    launcher = instance.run_launcher
    if not isinstance(launcher, RoutingRunLauncher):
        raise LaunchError(
            f"run_launcher is {type(launcher).__name__}, which keeps no launches; set RoutingRunLauncher in "
            "dagster.yaml (ml_platform/resources/dagster.yaml has an example)"
        )
    return launcher
