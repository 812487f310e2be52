"""What a pipeline consists of, what each part's address is, and how a process makes or reuses it."""

from ml_platform.runtime.context import Work
from ml_platform.runtime.execution import Made, make
from ml_platform.runtime.graph import Node, nodes_of

__all__ = ["Made", "Node", "Work", "make", "nodes_of"]
