"""Resolves a pipeline's split from the partitions in the store or in a given list."""

from collections.abc import Iterable

from ml_platform.artifacts import ArtifactStore
from ml_platform.pipeline.compiled import CompiledPipeline
from ml_platform.splits.base import Split, resolve_split


def split_in(pipeline: CompiledPipeline, store: ArtifactStore, as_of: str = "latest") -> Split:
    """Resolves the split as of the newest partition that all sources have in the store.

    Raises:
        DataError: no such partition, or too few to train on.
    """
    assets = [source.asset for source in pipeline.sources.values() if source.spans]
    shared = set.intersection(*(set(store.partitions(asset)) for asset in assets)) if assets else set()
    return split_over(pipeline, shared, as_of)


def split_over(pipeline: CompiledPipeline, partitions: Iterable[str], as_of: str = "latest") -> Split:
    """Resolves the split as of the newest of these partitions.

    Raises:
        DataError: no such partition, or too few to train on.
    """
    features, newest = pipeline.features, max(partitions, default=None)
    return resolve_split(pipeline.spec.pipeline, pipeline.spec.split, features.key, features.spans, newest, as_of)
