"""Provides a run's split as a Dagster resource, so that all assets of the run use the same date."""

import dagster as dg

from ml_platform.artifacts import ArtifactStore
from ml_platform.pipeline import CompiledPipeline
from ml_platform.runtime.split import split_in
from ml_platform.splits import Split


class SplitResource(dg.ConfigurableResource):
    """The one place for a whole run to say as of when its rows are split."""

    as_of: str = "latest"  # a day such as 2013-10-01: rows before it; latest: what the pipeline declares

    def resolve(self, pipeline: CompiledPipeline, store: ArtifactStore) -> Split:
        """Resolves the pipeline's split, given which partitions its sources have."""
        return split_in(pipeline, store, self.as_of)
