"""Dagster resources: the artifact store, and the split of a run."""

from ml_platform.resources.split import SplitResource
from ml_platform.resources.store import StoreResource

__all__ = ["SplitResource", "StoreResource"]
