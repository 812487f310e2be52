"""Machine-learning pipelines declared once: in a notebook, as Dagster assets, behind an API."""

from typing import Any


def __getattr__(name: str) -> Any:
    """Imports `Pipeline` when it is asked for: it brings scikit-learn, which loading definitions does not."""
    if name == "Pipeline":
        from ml_platform.runtime.inprocess import Pipeline

        return Pipeline
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
