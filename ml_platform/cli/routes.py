"""Prints where each asset would run on the launchers of this instance."""

from collections.abc import Sequence
from pathlib import Path

import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ml_platform.artifacts.home import dagster_home
from ml_platform.cli.definitions import project_definitions
from ml_platform.compat.dagster import process_config, resolve_to_config_type
from ml_platform.errors import LaunchError, PlatformError
from ml_platform.launchers import RoutingRunLauncher
from ml_platform.launchers.route_table import RouteRow, list_routes
from ml_platform.pipeline.document import load_document
from ml_platform.project import LOCAL_INSTANCE


def routes_here() -> tuple[Path, list[RouteRow], list[str]]:
    """Lists the routes of all assets on the launchers that the instance's YAML names, and what is wrong.

    Raises:
        PlatformError: a YAML that says something twice, or has no routing launcher.
    """
    path = instance_file()
    return path, *list_routes(project_definitions(), launcher_in(path))


def instance_file() -> Path:
    """Finds the instance's YAML; before the first run there is none yet, and it will be that of every new one."""
    own = dagster_home() / "dagster.yaml"
    return own if own.exists() else LOCAL_INSTANCE


def launcher_in(path: Path) -> RoutingRunLauncher:
    """Reads the routing launcher of an instance's YAML; none of its children is built.

    Raises:
        SpecError: a launcher, or any other key, that stands twice: Dagster would keep the last.
        LaunchError: no routing launcher, or one that is configured wrongly.
    """
    load_document(path)
    declared = (yaml.safe_load(path.read_text()) or {}).get("run_launcher") or {}
    if declared.get("class") != RoutingRunLauncher.__name__:
        found = declared.get("class", "none, so Dagster's default")
        raise LaunchError(
            f"{path}: run_launcher is {found}; expected module ml_platform.launchers, class RoutingRunLauncher, "
            f"with launchers by name ({LOCAL_INSTANCE} is an example)"
        )
    config = declared.get("config") or {}
    checked = process_config(resolve_to_config_type(RoutingRunLauncher.config_type()), config)
    if not checked.success:
        raise LaunchError(f"{path}: run_launcher: {'; '.join(error.message for error in checked.errors or ())}")
    try:
        return RoutingRunLauncher(config["default"], config["launchers"])
    except PlatformError as error:
        raise LaunchError(f"{path}: {error}") from error


def print_routes(
    path: Path, listed: Sequence[RouteRow], problems: Sequence[str], console: Console | None = None
) -> None:
    """Prints a line for each asset, then what is wrong."""
    console = console or Console()
    columns, rows = cells_of(listed)
    table = Table(*columns, title=f"launchers of {path}", title_justify="left")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    if rows:
        console.print(table)
    for problem in problems:
        console.print(f"[red]wrong[/]: {escape(problem)}", soft_wrap=True, highlight=False)


def cells_of(listed: Sequence[RouteRow]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Returns the columns that any launcher fills, and their cells in a row for each asset."""
    columns = {
        "asset": [one.asset for one in listed],
        "launcher": [" > ".join(one.launchers) for one in listed],
        "class": [one.type for one in listed],
        "namespace": [one.namespace or "" for one in listed],
        "image": [one.image or "" for one in listed],
        "resources": [_resources_cell(one) for one in listed],
    }
    filled = {name: cells for name, cells in columns.items() if any(cells)}
    return list(filled), list(zip(*filled.values(), strict=True))


def _resources_cell(one: RouteRow) -> str:
    parts = []
    for name, value in (one.resources or {}).items():
        given = ", ".join(f"{key} {amount}" for key, amount in value.items()) if isinstance(value, dict) else value
        parts.append(f"{name}: {given}")
    return "; ".join([*parts, *(["a process of its own"] if one.isolated else [])])
