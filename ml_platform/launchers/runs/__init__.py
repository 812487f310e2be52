"""Whole runs: the run launcher of `dagster.yaml`, the queue, and what starts each run exactly once."""
