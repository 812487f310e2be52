"""Which rows train, validate and test: the methods to split them by, and the split that a run goes by."""

from ml_platform.splits.base import Role, Split, SplitMethod
from ml_platform.splits.rows import partitions_with, read_rows

__all__ = ["Role", "Split", "SplitMethod", "partitions_with", "read_rows"]
