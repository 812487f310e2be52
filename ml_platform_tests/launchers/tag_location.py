"""The same jobs twice: as this platform has them, and with Dagster's own Kubernetes executor."""

from typing import Any

import dagster as dg
from dagster_k8s import k8s_job_executor

from ml_platform.launchers import routing_executor

DECLARED = {"dagster-k8s/config": {"container_config": {"resources": {"limits": {"cpu": "1", "memory": "9Gi"}}}}}
partitions = dg.StaticPartitionsDefinition(["a", "b"])


@dg.op(config_schema=dg.Field(dg.Permissive(), is_required=False))
def work() -> None: ...


@dg.graph
def working() -> None:
    work()


@dg.asset(partitions_def=partitions)
def parted() -> None: ...


def definitions(executor: dg.ExecutorDefinition) -> dg.Definitions:
    shared: dict[str, Any] = {"executor_def": executor}
    jobs = [
        working.to_job("plain", **shared),
        working.to_job("declared", tags=DECLARED, **shared),
        working.to_job("parted_job", partitions_def=partitions, **shared),
    ]
    return dg.Definitions(assets=[parted], jobs=jobs, executor=executor)


routed = definitions(routing_executor)
stock = definitions(k8s_job_executor)
