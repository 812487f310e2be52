"""As of when are rows split, given the partitions that are there?"""

from collections.abc import Iterable

from ml_platform.artifacts import ArtifactStore
from ml_platform.pipeline.compiled import CompiledPipeline
from ml_platform.pipeline.splitting import Cut, settle


def settle_for(pipeline: CompiledPipeline, store: ArtifactStore, as_of: str = "latest") -> Cut:
    """Settles the split as of the newest partition that all sources have in the store.

    Raises:
        DataError: no such partition, or too few to train on.
    """
    assets = [source.asset for source in pipeline.sources.values() if source.spans]
    shared = set.intersection(*(set(store.partitions(asset)) for asset in assets)) if assets else set()
    return settle_within(pipeline, shared, as_of)


def settle_within(pipeline: CompiledPipeline, partitions: Iterable[str], as_of: str = "latest") -> Cut:
    """Settles the split as of the newest of these partitions.

    Raises:
        DataError: no such partition, or too few to train on.
    """
    newest = max(partitions, default=None)
    return settle(pipeline.spec, pipeline.features.key, pipeline.features.spans, newest, as_of)
