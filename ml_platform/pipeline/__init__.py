"""A pipeline's declaration, its checks, and how its steps run."""

from typing import Any

from ml_platform.pipeline.compiled import CompiledPipeline, CompiledStep, load_pipeline
from ml_platform.pipeline.spec import PipelineSpec

__all__ = ["CompiledPipeline", "CompiledStep", "PipelineSpec", "load_pipeline"]


def __getattr__(name: str) -> Any:
    """Imports what brings scikit-learn when it is asked for: loading definitions does not."""
    if name in ("DataTransformer", "check_transformer"):
        from ml_platform.pipeline.imports import watch_imports

        watch_imports()
    if name == "DataTransformer":
        from ml_platform.pipeline.contract import DataTransformer

        return DataTransformer
    if name == "check_transformer":
        from ml_platform.pipeline.promises.battery import check_transformer

        return check_transformer
    if name in ("Case", "parametrize_with_promises"):
        from ml_platform.pipeline.promises import testing

        return getattr(testing, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
