"""A code location whose assets say where they ran: two on the default launcher, one on `gpu`, more after it."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from ml_platform.launchers import ISOLATED_TAG, LAUNCHER_TAG, routing_executor
from ml_platform.launchers.leases.meter import spent
from ml_platform_tests.crashes import FOLDER
from ml_platform_tests.launchers import HELD

WHERE = ("PLACE", "ONLY_CPU", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "HOSTNAME")


def where() -> dict[str, Any]:
    return {name: os.environ.get(name, "") for name in WHERE} | {"pid": os.getpid()}


def asset(name: str, *deps: str, tags: Mapping[str, Any] | None = None, seconds: float = 0.0) -> dg.AssetsDefinition:
    def body() -> dg.MaterializeResult[Any]:
        time.sleep(seconds)
        return dg.MaterializeResult(metadata=where())

    # The asset's tag is for checks that run without their asset.
    named = {LAUNCHER_TAG: str(tags[LAUNCHER_TAG])} if tags and isinstance(tags.get(LAUNCHER_TAG), str) else {}
    return dg.asset(name=name, deps=list(deps), op_tags=dict(tags or {}), tags=named)(body)


GPU = {LAUNCHER_TAG: "gpu"}
CHAIN = ("raw", "clean", "trained", "scored")
assets = [
    asset("raw"),
    asset("clean", "raw", tags={LAUNCHER_TAG: "cpu"}),
    asset("trained", "clean", tags=GPU),
    asset("scored", "trained"),
    asset("apart", tags={ISOLATED_TAG: "true"}),
    asset("escalating", tags={LAUNCHER_TAG: ["gpu", "cpu"]}),
    asset("slow_on_gpu", tags=GPU, seconds=3.0),
    asset("quick_one"),
    asset("quick_two", "quick_one"),
    asset("lost", tags={LAUNCHER_TAG: "gpuu"}),
    asset("sleepy", seconds=120.0),
    asset("sleepy_on_gpu", tags=GPU, seconds=120.0),
]


@dg.asset_check(asset="trained")
def looks_right() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True, metadata=where())


@dg.asset(op_tags=GPU, retry_policy=dg.RetryPolicy(max_retries=2))
def fails_once(context: dg.AssetExecutionContext) -> None:
    if context.retry_number == 0:
        raise RuntimeError("the first try fails, as it should")


@dg.asset(op_tags=GPU)
def dies() -> None:
    os.kill(os.getpid(), 9)


@dg.asset(deps=["clean"], op_tags=GPU)
def fails_until_mended() -> dg.MaterializeResult[Any]:
    if not (Path(os.environ[FOLDER]) / "mended").exists():
        raise RuntimeError("not mended yet")
    return dg.MaterializeResult(metadata=where())


days = dg.DailyPartitionsDefinition(start_date="2026-01-01", end_date="2026-01-04")


@dg.asset(partitions_def=days, backfill_policy=dg.BackfillPolicy.single_run(), tags={LAUNCHER_TAG: "cpu"})
def daily() -> dg.MaterializeResult[Any]:
    return dg.MaterializeResult(metadata=where())


@dg.asset(partitions_def=days, backfill_policy=dg.BackfillPolicy.single_run(), deps=["daily"], op_tags=GPU)
def daily_model() -> dg.MaterializeResult[Any]:
    return dg.MaterializeResult(metadata=where())


@dg.asset(deps=["quick_one"], op_tags=GPU)
def works_the_second_time() -> dg.MaterializeResult[Any]:
    mark = Path(os.environ[FOLDER]) / "tried"
    if not mark.exists():
        mark.touch()
        raise RuntimeError("the first run fails, as it should")
    return dg.MaterializeResult(metadata=where())


def count(context: dg.AssetExecutionContext, what: str) -> None:
    """Leaves a line for a test: who began or ended which step of which run, when."""
    step = context.get_step_execution_context().step.key
    with (Path(os.environ[FOLDER]) / "counted").open("a") as marks:
        marks.write(f"{context.run_id} {step} {what} {os.getpid()} {time.time()}\n")


def counted(
    name: str, tags: Mapping[str, Any] | None = None, deps: Sequence[str] = (), times: int = 1
) -> dg.AssetsDefinition:
    def body(context: dg.AssetExecutionContext) -> None:
        count(context, "began")
        while (Path(os.environ[FOLDER]) / HELD.format(name)).exists():
            time.sleep(0.05)
        for _ in range(int(float(os.environ.get("ML_PLATFORM_TEST_SECONDS", "0")) * 20 * times)):
            time.sleep(0.05)
        count(context, "ended")

    return dg.asset(name=name, op_tags=dict(tags or {}), deps=list(deps))(body)


work = [
    counted("counted"),
    counted("counted_a_while", times=6),
    counted("counted_long", times=20),
    counted("counted_on_gpu", GPU, ["counted"]),
    counted("counted_climbing", {LAUNCHER_TAG: ["cpu", "gpu"]}),
]


def out_of_device_memory(name: str, *deps: str) -> dg.AssetsDefinition:
    """Needs more of a device's memory than the first launcher of its escalation has."""

    def body(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        until = time.process_time() + 0.1
        while time.process_time() < until:
            pass  # what a try costs
        if os.environ.get("PLACE") != "gpu":
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")  # as torch.OutOfMemoryError says it
        costs = spent(context.run, context.get_step_execution_context().step.key)
        return dg.MaterializeResult(metadata={**where(), **costs})

    return dg.asset(name=name, deps=list(deps), op_tags={LAUNCHER_TAG: ["cpu", "gpu"]})(body)


hungry = [
    out_of_device_memory("hungry"),
    out_of_device_memory("hungry_too"),
    out_of_device_memory("hungry_after", "trained"),
]


@dg.asset(op_tags={LAUNCHER_TAG: ["gpu", "cpu"]})
def hungry_everywhere() -> None:
    raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")


@dg.asset(deps=["quick_one"])
def talkative(context: dg.AssetExecutionContext) -> None:
    for number in range(130):
        context.log_event(dg.AssetObservation("talkative", metadata={"number": number}))


class Stubborn(dg.ConfigurableResource[Any]):
    """Cannot be set up the first time."""

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        mark = Path(os.environ[FOLDER]) / "set_up"
        if not mark.exists():
            mark.touch()
            raise RuntimeError("cannot be set up yet")


@dg.asset(retry_policy=dg.RetryPolicy(max_retries=1))
def needs_stubborn(stubborn: Stubborn) -> dg.MaterializeResult[Any]:
    return dg.MaterializeResult(metadata=where())


@dg.op(out=dg.DynamicOut())
def parts() -> Any:
    yield from (dg.DynamicOutput(number, mapping_key=f"part_{number}") for number in range(2))


@dg.op(tags=GPU)
def double(context: dg.OpExecutionContext, part: int) -> int:
    context.log.info(f"doubled in {os.environ.get('PLACE')}")
    return part * 2


@dg.op
def total(parts: list[int]) -> int:
    return sum(parts)


@dg.job(executor_def=routing_executor)
def dynamic() -> None:
    total(parts().map(double).collect())


chain = dg.define_asset_job("chain", list(CHAIN))
DECLARED = {"dagster-k8s/config": {"container_config": {"resources": {"limits": {"memory": "9Gi"}}}}}
declared = dg.define_asset_job("declared", ["quick_one"], tags=DECLARED)


@dg.sensor(job=chain, minimum_interval_seconds=1, default_status=dg.DefaultSensorStatus.STOPPED)
def when_asked() -> Any:
    yield dg.RunRequest(run_key="once")


defs = dg.Definitions(
    assets=[
        *assets,
        *work,
        *hungry,
        hungry_everywhere,
        fails_once,
        dies,
        fails_until_mended,
        daily,
        daily_model,
        works_the_second_time,
        talkative,
        needs_stubborn,
    ],
    resources={"stubborn": Stubborn()},
    asset_checks=[looks_right],
    executor=routing_executor,
    jobs=[chain, declared, dynamic],
    schedules=[dg.ScheduleDefinition(job=chain, cron_schedule="* * * * *")],
    sensors=[when_asked],
)
