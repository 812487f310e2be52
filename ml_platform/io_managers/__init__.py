"""One IO manager for each type of value; each refuses a value of another type by name."""

from ml_platform.io_managers.frames import FrameIOManager
from ml_platform.io_managers.objects import SklearnIOManager
from ml_platform.io_managers.reports import ReportIOManager

__all__ = ["FrameIOManager", "ReportIOManager", "SklearnIOManager"]
