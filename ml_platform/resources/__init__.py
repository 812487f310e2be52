"""What assets reach outside of themselves: the artifact store, the cut of a run, Dagster's event log."""

from ml_platform.resources.cut import CutResource
from ml_platform.resources.store import StoreResource

__all__ = ["CutResource", "StoreResource"]
