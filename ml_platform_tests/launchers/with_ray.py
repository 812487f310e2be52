"""The tests' code location, with steps that use the Ray cluster on which they execute."""

import os
from typing import Any

import dagster as dg

from ml_platform_tests.launchers import location


@dg.asset(deps=["raw"], op_tags=location.GPU)
def spread_out() -> dg.MaterializeResult[Any]:
    """Has two tasks executed by Ray, as a distributed engine under a step would."""
    import ray

    @ray.remote
    def half(number: int) -> tuple[int, int]:
        return number * number, os.getpid()

    with ray.init(log_to_driver=False):
        found = ray.get([half.remote(number) for number in (3, 4)])
    workers = [pid for _, pid in found]
    return dg.MaterializeResult(metadata={**location.where(), "total": found[0][0] + found[1][0], "workers": workers})


@dg.asset(op_tags={**location.GPU, "dagster-ray/config": {"num_cpus": 64}})
def greedy() -> None:
    """Asks for more than there is, so that it waits in Ray."""


defs = dg.Definitions.merge(location.defs, dg.Definitions(assets=[spread_out, greedy]))
