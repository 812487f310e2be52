"""A pipeline's declaration, its checks, and how its steps run."""

from ml_platform.pipeline.compiled import CompiledPipeline, CompiledStep, load_pipeline
from ml_platform.pipeline.spec import PipelineSpec

__all__ = ["CompiledPipeline", "CompiledStep", "PipelineSpec", "load_pipeline"]
