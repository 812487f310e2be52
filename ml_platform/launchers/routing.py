"""How does one run launcher become many?"""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster._core.events import DagsterEventType, EngineEventData
from dagster._core.launcher import (
    CheckRunHealthResult,
    LaunchRunContext,
    ResumeRunContext,
    RunLauncher,
    WorkerStatus,
)
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from ml_platform.errors import LaunchError, expected_one_of
from ml_platform.launchers.children import Children
from ml_platform.launchers.routes import LAUNCHER_TAG, Route, route_of

_RECORD = "ml_platform/route"


class RoutingRunLauncher(RunLauncher[Any], ConfigurableClass):
    """Sends each run to the launcher that its steps ask for.

    Args:
        default: the launcher of steps that ask for none, and of runs whose steps ask for several.
        launchers: name to `{module, class, config}` of any of Dagster's run launchers.
    """

    def __init__(
        self,
        default: str,
        launchers: Mapping[str, Mapping[str, Any]],
        inst_data: ConfigurableClassData | None = None,
    ):
        if default not in launchers:
            raise LaunchError(
                f"the default launcher {default!r} is not among those in dagster.yaml; "
                f"{expected_one_of(default, launchers)}"
            )
        self.default = default
        self.children = Children(launchers, lambda: self._instance)
        self._inst_data = inst_data
        super().__init__()

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """Gives what the instance's configuration says of this launcher."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Gives what `dagster.yaml` may say."""
        child = {"module": str, "class": str, "config": dg.Field(dg.Permissive(), is_required=False)}
        return {"default": str, "launchers": dg.Field(dg.Map(str, dg.Shape(child), key_label_name="name"))}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "RoutingRunLauncher":
        """Builds the launcher from `dagster.yaml`; its children are built when they are needed."""
        return cls(inst_data=inst_data, **config_value)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Finds where the run goes, writes it down, and has it launched there.

        Raises:
            LaunchError: a step that asks for a launcher which does not exist, cannot be set up or takes no steps.
        """
        run = context.dagster_run
        try:
            route = self.recorded(run) or self._route(context)
            child = self.children[route.launcher]
        except LaunchError as error:
            # Dagster shows an exception by its class; the run's log says it in words too.
            self._instance.report_engine_event(f"Not launched: {error}", run, cls=type(self))
            raise
        child.launch_run(context)

    def _route(self, context: LaunchRunContext) -> Route:
        run, workspace = context.dagster_run, context.workspace

        def tags_of_asset(key: dg.AssetKey) -> Mapping[str, str]:
            graph = workspace.asset_graph if workspace is not None else None
            return graph.get(key).tags if graph is not None and graph.has(key) else {}

        route = self.route(run, tags_of_asset)
        self._record(run, route)
        return route

    def route(self, run: dg.DagsterRun, tags_of_asset: Any = lambda _: {}) -> Route:
        """Reads a run's route from its plan.

        Raises:
            LaunchError: a step that asks for a launcher which does not exist or takes no single steps.
        """
        plan_id = run.execution_plan_snapshot_id
        if plan_id is None:
            raise LaunchError(f"run {run.run_id} has no plan to read its route from; launch its job again")
        plan = self._instance.get_execution_plan_snapshot(plan_id)
        route = route_of(plan, run.step_keys_to_execute, self.default, list(self.children), tags_of_asset)
        for step, launcher in route.elsewhere.items():
            self.require_steps(step, launcher)
        return route

    def require_steps(self, step: str, launcher: str) -> None:
        """Refuses to send a single step to a launcher that takes whole runs only."""
        if self.children.kind(launcher).step_handler is None:
            raise LaunchError(
                f"step {step} asks for launcher {launcher}, a {self.children.class_of(launcher).__name__}, which takes "
                f"whole runs only; run it without steps of other launchers, or give {launcher} another class"
            )

    def _record(self, run: dg.DagsterRun, route: Route) -> None:
        """Writes a run's route into its log, and its launcher into its tags, by which people filter."""
        facts = {"launcher": route.launcher, "elsewhere": dict(route.elsewhere)}
        data = EngineEventData(metadata={_RECORD: dg.MetadataValue.json(facts)})
        self._instance.report_engine_event(f"This run goes to {route}.", run, data, cls=type(self))
        self._instance.add_run_tags(run.run_id, {LAUNCHER_TAG: route.launcher})

    def recorded(self, run: dg.DagsterRun) -> Route | None:
        """Reads where a run was sent when it was launched; None if it never was.

        It stands in the run's log, where no user of the UI can write; a run's tags are anybody's.
        """
        cursor = None
        while True:
            page = self._instance.get_records_for_run(
                run.run_id, cursor, of_type=DagsterEventType.ENGINE_EVENT, limit=100
            )
            for record in page.records:
                event = record.event_log_entry.dagster_event
                facts = event.engine_event_data.metadata.get(_RECORD) if event is not None else None
                if isinstance(facts, dg.JsonMetadataValue) and isinstance(facts.data, dict):
                    return Route(**facts.data)
            if not page.has_more:
                return None
            cursor = page.cursor

    @property
    def supports_resume_run(self) -> bool:
        """Those children that can do so resume; of the others it is said when it is tried."""
        return True

    def resume_run(self, context: ResumeRunContext) -> None:
        """Has the run go on where it was launched."""
        name, child = self._launched_by(context.dagster_run)
        if not child.supports_resume_run:
            raise LaunchError(f"launcher {name} ({type(child).__name__}) cannot resume runs; re-execute the run")
        child.resume_run(context)

    def terminate(self, run_id: str) -> bool:
        """Ends the run where it was launched."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        if self.recorded(run) is None:
            message = "No launcher started this run: end it where it executes."
            self._instance.report_engine_event(message, run, cls=type(self))
            return False
        _, child = self._launched_by(run)
        return child.terminate(run_id)

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Children that cannot tell are believed to be well."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Asks the launcher that the run was sent to."""
        if self.recorded(run) is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "no launcher started this run")
        name, child = self._launched_by(run)
        if not child.supports_check_run_worker_health:
            return CheckRunHealthResult(WorkerStatus.RUNNING, f"launcher {name} cannot tell")
        return child.check_run_worker_health(run)

    def get_run_worker_debug_info(self, run: dg.DagsterRun, include_container_logs: bool | None = True) -> str | None:
        """Asks the launcher that the run was sent to."""
        if self.recorded(run) is None:
            return None
        _, child = self._launched_by(run)
        return child.get_run_worker_debug_info(run, include_container_logs)

    def _launched_by(self, run: dg.DagsterRun) -> tuple[str, RunLauncher[Any]]:
        route = self.recorded(run)
        assert route is not None, f"run {run.run_id} was launched"
        return route.launcher, self.children[route.launcher]

    def join(self, timeout: int = 30) -> None:
        """Waits for the runs of the children that were needed."""
        for child in self.children.built():
            child.join(timeout)

    def dispose(self) -> None:
        """Lets the children go that were needed."""
        for child in self.children.built():
            child.dispose()
