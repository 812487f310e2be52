"""Turns the platform's refusals into failures that Dagster shows and does not retry."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from ml_platform.errors import PlatformError


@contextmanager
def refusals_as_failures() -> Iterator[None]:
    """Turns what the platform refuses into a permanent failure with the same message."""
    try:
        yield
    except PlatformError as error:
        # A refusal comes again however often it is asked; Dagster's retries are for machines that fail.
        raise dg.Failure(f"{type(error).__name__}: {error}", allow_retries=False) from error
