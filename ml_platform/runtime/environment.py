"""Names what of the machine may decide bytes: the number of threads, and the kind of device."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from ml_platform.errors import PlatformError
from ml_platform.runtime.graph import Node


def thread_count() -> int:
    """Returns the threads that a step computes on: `OMP_NUM_THREADS`, else the cores that this process may use."""
    text = os.environ.get("OMP_NUM_THREADS")
    if not text:
        return len(os.sched_getaffinity(0))  # os.cpu_count() counts cores that a container may not use
    if not text.isdigit() or int(text) == 0:
        raise PlatformError(f"OMP_NUM_THREADS is {text!r}; expected a whole number from 1, or no such variable")
    return int(text)


@lru_cache(maxsize=1)
def device_class() -> str:
    """Returns the accelerator that torch finds here, else `cpu`."""
    import torch

    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return "cpu" if found is None else str(found.type)


def environment_of(node: Node) -> dict[str, Any]:
    """Names what of the environment a node's bytes may depend on."""
    threads = {"threads": thread_count()} if node.depends_on_threads else {}
    return threads | ({"device": device_class()} if node.depends_on_device else {})


@contextmanager
def limited_threads(node: Node) -> Iterator[None]:
    """Holds numeric libraries to the threads that the node's cache key names."""
    if not node.depends_on_threads:
        yield
        return
    import sklearn  # noqa: F401  (loads the OpenMP that is to be limited)
    from threadpoolctl import threadpool_limits

    with threadpool_limits(thread_count()):
        # threadpoolctl reaches OpenMP and BLAS; torch has a pool of its own, and is not imported for its sake.
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(thread_count())
        yield
