"""Records CPU time and peak memory of each step in the launch table, and sums them over attempts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import dagster as dg

from ml_platform.launchers.leases import lease
from ml_platform.launchers.leases.lease import Usage
from ml_platform.launchers.leases.schema import DIED, ENDED, Holder, Launch, Work, work_of
from ml_platform.launchers.leases.table import Launches


@dataclass(frozen=True)
class Meter:
    """One step that executes in this process.

    Attributes:
        before: the processor time that the process had used when the step began, seconds.
    """

    launch: Launch
    holder: Holder
    usage: Usage
    before: float

    def cpu_seconds(self) -> float:
        """Returns the processor time of the step so far."""
        return self.usage.cpu_seconds() - self.before


_meters: dict[str, Meter] = {}  # by the step's key


def metered(
    events: Iterator[dg.DagsterEvent],
    works: Callable[[str], Work],
    retry_of: Callable[[str], int],
    launcher: str | None,
) -> Iterator[dg.DagsterEvent]:
    """Passes the events of steps that execute in this process on, and keeps a row of the launch table for each.

    Args:
        works: names a step as a piece of work, by its key.
        launcher: whose the steps are; None for that of the process.
    """
    # By events and not around the step: in one process a plan's steps follow each other inside one iterator.
    held = lease.current()
    for event in events:
        step = event.step_key
        if held is not None and step is not None:
            if event.event_type is dg.DagsterEventType.STEP_START:
                _meters[step] = _begin(held, works(step), retry_of(step), launcher)
            elif event.is_step_success or event.is_step_failure or event.is_step_up_for_retry:
                _end(held.launches, _meters.pop(step, None))
        yield event


def _begin(held: lease.Lease, work: Work, retry: int, launcher: str | None) -> Meter:
    launches, holder = held.launches, Holder()
    process = launches.get(held.launch_id)
    last = launches.last(work.run_id, work.step)
    if last is not None and last.within is not None:
        launches.release(last, DIED, "its process is gone")  # else another try could not be noted
    launch = launches.intend(work, launcher or process.launcher, within=process.id, gpus=process.gpus, retry=retry)
    launches.acquire(launch.lease_id, holder)
    usage = Usage()
    return Meter(launch, holder, usage, usage.cpu_seconds())


def _end(launches: Launches, meter: Meter | None) -> None:
    if meter is not None:
        meter.usage.look()
        measured = {"cpu_seconds": meter.cpu_seconds(), "peak_bytes": meter.usage.peak_bytes}
        launches.release(meter.launch, ENDED, secret=meter.holder.secret, measured=measured)


def spent(run: dg.DagsterRun, step: str) -> dict[str, Any]:
    """Returns what a step has cost so far, with all tries of it that failed, as metadata of what it makes.

    Empty where this process was not launched by way of the launch table.
    """
    held = lease.current()
    if held is None:
        return {}
    meter = _meters.get(step)
    tries = held.launches.tries_of(work_of(run, step))
    now = meter.launch.id if meter is not None else held.launch_id
    others = [one for one in tries if one.id != now]
    cpu = meter.cpu_seconds() if meter is not None else Usage().cpu_seconds()
    this = held.launches.get(now)
    found: dict[str, Any] = {
        "cpu_seconds": round(cpu + sum(one.cpu_seconds for one in others), 3),
        "gpu_seconds": round(this.gpu_seconds + sum(one.gpu_seconds for one in others), 3),
        "tries": len(others) + 1,
    }
    peak = max((one.peak_bytes for one in others), default=0)
    return {**found, "peak_memory_of_past_tries_bytes": peak} if peak else found
