"""What a pipeline consists of, what each part's address is, and how a process makes or reuses it."""

from ml_platform.runtime.making import Made, make
from ml_platform.runtime.nodes import Node, nodes_of
from ml_platform.runtime.work import Work

__all__ = ["Made", "Node", "Work", "make", "nodes_of"]
