"""Builds a project's Dagster resources: the store, the IO managers, and the routing executor."""

import dagster as dg

from ml_platform.artifacts import ArtifactStore
from ml_platform.components.reuse import WouldReuse
from ml_platform.io_managers import FrameIOManager, ReportIOManager, SklearnIOManager
from ml_platform.launchers import publishing, routing_executor_with
from ml_platform.resources import SplitResource, StoreResource


class FencedStore(StoreResource):
    """The store, in which a process that was launched for a run publishes only while the run is its to execute."""

    def open(self) -> ArtifactStore:
        """Opens the store behind the launch's fence."""
        return super().open().fenced_by(publishing)


def resources_for_project(base: str = "") -> dg.Definitions:
    """Returns one store behind all IO managers, and the executor that sends each step to its launcher.

    Args:
        base: where the store lies, a folder or an `s3://` URL; empty: `$ML_PLATFORM_ARTIFACTS`, else beside Dagster's
            own storage.
    """
    store, split = FencedStore(base=base), SplitResource()
    return dg.Definitions(
        resources={
            "store": store,
            "split": split,
            "frames": FrameIOManager(store=store),
            "objects": SklearnIOManager(store=store),
            "reports": ReportIOManager(store=store),
        },
        executor=routing_executor_with(WouldReuse(store, split)),
    )
