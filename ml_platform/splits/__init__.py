"""Splits rows into training, validation and test."""

from ml_platform.splits.base import Role, Split, SplitMethod
from ml_platform.splits.rows import partitions_with, read_rows

__all__ = ["Role", "Split", "SplitMethod", "partitions_with", "read_rows"]
