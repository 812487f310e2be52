"""Stores immutable, content-addressed values (frames, fitted objects, reports) in a folder or a bucket."""

from ml_platform.artifacts.artifact import Artifact, Origin
from ml_platform.artifacts.frames import Frames
from ml_platform.artifacts.home import default_store
from ml_platform.artifacts.objects import Fitted
from ml_platform.artifacts.reports import Report
from ml_platform.artifacts.store import ArtifactStore

__all__ = ["Artifact", "ArtifactStore", "Fitted", "Frames", "Origin", "Report", "default_store"]
