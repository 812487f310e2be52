"""The steps that everyone uses."""

from ml_platform.transformers.asof import AsOfLookup
from ml_platform.transformers.calendar import Calendar
from ml_platform.transformers.frequencies import Frequencies
from ml_platform.transformers.sql import SQL

__all__ = ["SQL", "AsOfLookup", "Calendar", "Frequencies"]
