"""A stand-in for Kubernetes clusters: an API server with state on the loopback, whose pods are real processes."""

from ml_platform_tests.kubernetes.cluster import Cluster, Fault
from ml_platform_tests.kubernetes.pods import Ran

__all__ = ["Cluster", "Fault", "Ran"]
