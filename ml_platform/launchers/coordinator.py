"""How do runs that wait for one launcher stay out of the way of all others?"""

import time
from typing import Any

from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster._core.run_coordinator.queued_run_coordinator import RunQueueConfig

from ml_platform.launchers.table import Launches

WAITING_TAG = "ml_platform/waiting_until"  # of a run in the queue: seconds as of `time.time`


class RoutingRunCoordinator(QueuedRunCoordinator[Any]):
    """Dagster's queue, which leaves runs alone whose launcher asked to wait, and launches several at once.

    So a cluster that is full, slow or away delays no other launcher's runs.
    """

    def get_run_queue_config(self) -> RunQueueConfig:
        """Gives the queue's limits; runs whose time has not come may not be dequeued at all."""
        config = super().get_run_queue_config()
        moments = Launches.of(self._instance).waiting(time.time())
        kept_back = [{"key": WAITING_TAG, "value": str(moment), "limit": 0} for moment in sorted(set(moments))]
        return config._replace(tag_concurrency_limits=[*config.tag_concurrency_limits, *kept_back])

    @property
    def dequeue_use_threads(self) -> bool:
        """Launches several runs at a time."""
        return True
