"""Outside data: which tables there are, and how they are read and checked."""

from ml_platform.sources.kinds import Source, require_source
from ml_platform.sources.partitions import Partitions
from ml_platform.sources.tables import TableSource

__all__ = ["Partitions", "Source", "TableSource", "require_source"]
