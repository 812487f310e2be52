"""Where do this deployment's artifacts lie?"""

import dagster as dg

from ml_platform.artifacts import ArtifactStore
from ml_platform.artifacts.home import default_base


class StoreResource(dg.ConfigurableResource):
    """The artifact store that assets read and IO managers write."""

    base: str = ""  # a folder or an s3:// URL; empty: `artifacts` beside Dagster's own storage

    def open(self) -> ArtifactStore:
        """Opens the store."""
        return ArtifactStore(self.base or default_base())
