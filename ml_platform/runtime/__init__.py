"""Computes a pipeline's values, or reuses them: the graph of values, cache keys, materialization, the estimator."""

from ml_platform.runtime.context import RunContext
from ml_platform.runtime.execution import Materialized, materialize
from ml_platform.runtime.graph import Node, nodes_of

__all__ = ["Materialized", "Node", "RunContext", "materialize", "nodes_of"]
