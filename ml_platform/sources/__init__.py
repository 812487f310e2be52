"""Reads and checks data from outside: CSV files, and the sources that installed distributions add."""

from ml_platform.sources.partitions import Partitions
from ml_platform.sources.protocol import Source, require_source
from ml_platform.sources.tables import TableSource

__all__ = ["Partitions", "Source", "TableSource", "require_source"]
