"""The Dagster resource that opens the artifact store of a deployment."""

from functools import lru_cache

import dagster as dg

from ml_platform.artifacts import ArtifactStore
from ml_platform.artifacts.home import default_base, default_branch


class StoreResource(dg.ConfigurableResource):
    """The artifact store that assets read and IO managers write."""

    base: str = ""  # a folder or an s3:// URL; empty: `artifacts` beside Dagster's own storage
    branch: str = ""  # whose current versions to read and move; empty: $ML_PLATFORM_BRANCH, else production's

    reuse: bool = True  # whether steps take what the same computation gave before

    def open(self) -> ArtifactStore:
        """Opens the store."""
        return _opened(self.base or default_base(), self.branch or default_branch())


@lru_cache
def _opened(base: str, branch: str) -> ArtifactStore:
    """Keeps one store per process, which verifies each artifact once."""
    return ArtifactStore(base, branch)
