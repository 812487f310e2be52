"""The code location of `launchers.py`: chains of empty steps, for each way of executing them."""

import dagster as dg

from ml_platform.launchers import ISOLATED_TAG, LAUNCHER_TAG, routing_executor

STEPS = 10


def chain(name: str, executor: dg.ExecutorDefinition, *tags: dict[str, str]) -> dg.JobDefinition:
    """Returns a job of empty steps, one after the other, which take the tags in turn."""
    ops = [
        dg.op(name=f"{name}_{number}", tags=tags[number % len(tags)], ins={"after": dg.In(dg.Nothing)})(empty)
        for number in range(STEPS)
    ]

    @dg.job(name=name, executor_def=executor)
    def steps() -> None:
        last = ops[0]()
        for one in ops[1:]:
            last = one(after=last)

    return steps


def empty() -> None: ...


WAYS = {
    "in process (stock)": chain("in_process", dg.in_process_executor, {}),
    "a process each (stock multiprocess)": chain("multiprocess", dg.multiprocess_executor, {}),
    "routed, in the run's process": chain("shared", routing_executor, {}),
    "routed, a process each": chain("isolated", routing_executor, {ISOLATED_TAG: "true"}),
    "routed, every other step to another launcher": chain("mixed", routing_executor, {}, {LAUNCHER_TAG: "gpu"}),
}

defs = dg.Definitions(jobs=list(WAYS.values()))
