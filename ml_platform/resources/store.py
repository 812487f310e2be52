"""Where do this deployment's artifacts lie?"""

from functools import lru_cache

import dagster as dg

from ml_platform.artifacts import ArtifactStore
from ml_platform.artifacts.home import default_base


class StoreResource(dg.ConfigurableResource):
    """The artifact store that assets read and IO managers write."""

    base: str = ""  # a folder or an s3:// URL; empty: `artifacts` beside Dagster's own storage

    def open(self) -> ArtifactStore:
        """Opens the store."""
        return _opened(self.base or default_base())


@lru_cache
def _opened(base: str) -> ArtifactStore:
    """Keeps one store per process, which verifies each artifact once."""
    return ArtifactStore(base)
