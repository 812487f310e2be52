"""Queues runs: those that wait for one launcher hold up no other, and tags ask for no more than they may."""

import time
from typing import Any

from dagster import DagsterRun, QueuedRunCoordinator, SubmitRunContext

from ml_platform.compat.dagster import RunQueueConfig
from ml_platform.launchers.leases.table import Launches
from ml_platform.launchers.tag_policy import WAITING_TAG, TagPolicy, describe_changes


class RoutingRunCoordinator(QueuedRunCoordinator[Any]):
    """Dagster's queue, which leaves runs alone whose launcher asked to wait, and launches several at once.

    So a cluster that is full, slow or away delays no other launcher's runs.
    """

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Puts a run into the queue; tags that ask for more than they may are changed, and the run's log says so."""
        run = context.dagster_run
        policy: TagPolicy = getattr(self._instance.run_launcher, "tag_policy", TagPolicy())
        changes = policy.changes_of(self._instance, run)
        if changes:
            self._instance.add_run_tags(run.run_id, changes)
            self._instance.report_engine_event(describe_changes(run, changes), run, cls=type(self))
        return super().submit_run(context)

    def get_run_queue_config(self) -> RunQueueConfig:
        """Returns the queue's limits; runs whose time has not come may not be dequeued at all."""
        config = super().get_run_queue_config()
        moments = Launches.of(self._instance).waiting(time.time())
        # Dagster's queue knows limits by tag only. A run that waits has the moment as a tag, and the limit 0 for each
        # moment to come keeps it back; once the moment is past nobody has to remove anything.
        kept_back = [{"key": WAITING_TAG, "value": str(moment), "limit": 0} for moment in sorted(set(moments))]
        return config._replace(tag_concurrency_limits=[*config.tag_concurrency_limits, *kept_back])

    @property
    def dequeue_use_threads(self) -> bool:
        """Launches several runs at a time: one whose launcher is slow to answer holds up no other."""
        return True
