"""As of when does this run split its rows?"""

import dagster as dg

from ml_platform.artifacts import ArtifactStore
from ml_platform.pipeline import CompiledPipeline
from ml_platform.pipeline.splitting import Cut
from ml_platform.runtime.cutting import settle_for


class CutResource(dg.ConfigurableResource):
    """The cut between training, validation and test; one place for a whole run to set it."""

    as_of: str = "latest"  # a day such as 2013-10-01: rows before it; latest: what the pipeline declares

    def settle(self, pipeline: CompiledPipeline, store: ArtifactStore) -> Cut:
        """Turns the pipeline's split into a cut, given which partitions its sources have."""
        return settle_for(pipeline, store, self.as_of)
