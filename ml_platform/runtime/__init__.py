"""What a pipeline consists of, what each part's cache key is, and how a process makes or reuses it."""

from ml_platform.runtime.context import RunContext
from ml_platform.runtime.execution import Materialized, materialize
from ml_platform.runtime.graph import Node, nodes_of

__all__ = ["Materialized", "Node", "RunContext", "materialize", "nodes_of"]
