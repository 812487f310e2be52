"""What repeats: component types that turn declarations into assets."""

from ml_platform.components.ml_pipeline import MLPipelineComponent

__all__ = ["MLPipelineComponent"]
