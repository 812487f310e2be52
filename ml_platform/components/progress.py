"""Logs how far the partitions of a long asset are."""

import time
from collections.abc import Iterator

import dagster as dg

from ml_platform.runtime import Materialized

EVERY_SECONDS = 2.0


def with_progress(
    context: dg.AssetExecutionContext, stream: Iterator[Materialized], count: int
) -> Iterator[Materialized]:
    """Passes partitions on, telling the run's log now and then how many are done."""
    last = time.monotonic()
    for done, made in enumerate(stream, 1):
        yield made  # first: the partition is written before it is counted
        if time.monotonic() - last > EVERY_SECONDS:
            last = time.monotonic()
            context.log.info(f"{context.asset_key.to_user_string()}: {done} of {count} partitions")
