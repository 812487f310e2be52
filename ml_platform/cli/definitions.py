"""Loads the definitions of the project that the working folder is in."""

from importlib import import_module

import dagster as dg

from ml_platform.compat.dagster import ComponentTreeException, LazyDefinitions
from ml_platform.errors import PlatformError
from ml_platform.project import Project, find_project


def project_definitions() -> dg.Definitions:
    """Loads all that the project declares.

    Raises:
        PlatformError: there is no project here, it has no definitions, or a declaration of it is wrong.
    """
    project = find_project()
    project.put_on_path()
    try:
        return _definitions_in(project)
    except ComponentTreeException as error:
        _raise_refusal(error)
        raise


def _definitions_in(project: Project) -> dg.Definitions:
    name = project.definitions_module
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise PlatformError(
            f"{project.root / 'pyproject.toml'}: no module {name!r} in {project.sources_root}; "
            "name the one with your definitions as code_location_target_module"
        ) from error
    for found in vars(module).values():
        if isinstance(found, dg.Definitions):
            return found
        if isinstance(found, LazyDefinitions):
            return found()
    raise PlatformError(f"{module.__file__}: no Definitions; expected a function with @dg.definitions")


def _raise_refusal(error: BaseException) -> None:
    """Takes a declaration's mistake out of what Dagster wraps around it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, PlatformError):
            raise cause from None
        cause = cause.__cause__ or cause.__context__
