"""Component types that turn declarations into Dagster assets."""

from ml_platform.components.ml_pipeline import MLPipelineComponent

__all__ = ["MLPipelineComponent"]
