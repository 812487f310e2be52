"""Lists where each asset and check would run, from the definitions and the instance's YAML; no cluster is asked."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import dagster as dg

from ml_platform.compat.dagster import create_execution_plan
from ml_platform.compat.dagster_steps import ExecutionPlanSnapshot, ExecutionStepSnap, snapshot_from_execution_plan
from ml_platform.errors import LaunchError
from ml_platform.launchers.routes import escalation_of, is_isolated, route_of
from ml_platform.launchers.runs.run_launcher import RoutingRunLauncher

_ALL_ASSETS = "__ASSET_JOB"  # Dagster's own name for the job that any selection of assets is run by


@dataclass(frozen=True)
class RouteRow:
    """Where one asset or check would run.

    Attributes:
        launchers: the one that takes it, and those to escalate to when memory runs out.
        type: the class of the first.
        isolated: whether it gets a process of its own even on the run's launcher.
    """

    asset: str
    step: str
    launchers: tuple[str, ...]
    type: str
    namespace: str | None
    image: str | None
    resources: Mapping[str, Any] | None
    isolated: bool

    def to_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return {**asdict(self), "launchers": list(self.launchers)}


def list_routes(definitions: dg.Definitions, launcher: RoutingRunLauncher) -> tuple[list[RouteRow], list[str]]:
    """Lists where every asset and check would run, and everything that is wrong with it."""
    repository = definitions.get_repository_def()
    listed, problems = [], _problems_of(launcher)
    for job in repository.get_all_jobs():
        try:
            plan = create_execution_plan(job)
        except dg.DagsterInvalidConfigError as error:
            problems.append(f"job {job.name} cannot be planned without configuration: {error.errors[0].message}")
            continue
        snapshot = snapshot_from_execution_plan(plan, "")
        if job.name == _ALL_ASSETS:
            for step in snapshot.steps:
                listed += _collect(_listed(step, snapshot, launcher), problems)
        problems += _problem_of_job(job.name, snapshot, launcher)
    return sorted(listed, key=lambda one: one.asset), list(dict.fromkeys(problems))


def _collect(found: Iterator[RouteRow], problems: list[str]) -> list[RouteRow]:
    try:
        return list(found)
    except LaunchError as error:
        problems.append(str(error))
        return []


def _listed(step: ExecutionStepSnap, plan: ExecutionPlanSnapshot, launcher: RoutingRunLauncher) -> Iterator[RouteRow]:
    chosen = route_of(plan, [step.key], launcher.default, list(launcher.children)).launcher
    place = launcher.children.backend_spec(chosen).step_resources_of(
        launcher.children.config_of(chosen), step.tags or {}
    )
    launchers = (chosen, *escalation_of(step.tags)[1:])
    type_name = launcher.children.class_of(chosen).__name__
    for key in sorted(step.entity_keys, key=str):
        name = key.to_user_string()
        yield RouteRow(name, step.key, launchers, type_name, place.namespace, place.image, place.resources,
                     is_isolated(step.tags))  # fmt: skip


def _problems_of(launcher: RoutingRunLauncher) -> list[str]:
    """Finds launchers that cannot be had here at all."""
    problems = []
    for name in launcher.children:
        try:
            launcher.children.class_of(name)
        except LaunchError as error:
            problems.append(str(error))
    return problems


def _problem_of_job(job: str, plan: ExecutionPlanSnapshot, launcher: RoutingRunLauncher) -> list[str]:
    """Finds steps of a mixed run that would go to a launcher which takes whole runs only."""
    try:
        route = route_of(plan, None, launcher.default, list(launcher.children))
    except LaunchError as error:
        return [str(error)]
    what = "all assets together" if job == _ALL_ASSETS else f"job {job}"
    problems = []
    for step, name in route.elsewhere.items():
        try:
            launcher.require_steps(step, name)
        except LaunchError as error:
            problems.append(f"{what}: {error}")
    return problems
