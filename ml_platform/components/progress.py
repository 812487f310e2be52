"""How do people see that long work goes on?"""

import time
from collections.abc import Iterator

import dagster as dg

from ml_platform.pipeline.running import Part, Parts

EVERY_SECONDS = 2.0


def told(context: dg.AssetExecutionContext, stream: Iterator[Part], count: int) -> Parts:
    """Passes parts on, telling the run's log now and then how many are done."""
    return Parts(_tell(context, stream, count))


def _tell(context: dg.AssetExecutionContext, stream: Iterator[Part], count: int) -> Iterator[Part]:
    last = time.monotonic()
    for done, part in enumerate(stream, 1):
        yield part
        if time.monotonic() - last > EVERY_SECONDS:
            last = time.monotonic()
            context.log.info(f"{context.asset_key.to_user_string()}: {done} of {count} partitions")
