"""Locates the Dagster instance, the artifact store and the branch, from environment variables and the project."""

import os
from pathlib import Path

from ml_platform.artifacts.store import ArtifactStore
from ml_platform.project import find_project


def dagster_home() -> Path:
    """Returns the instance's folder: `$DAGSTER_HOME`, else `.dagster` in the project that the working folder is in.

    Raises:
        PlatformError: neither is there.
    """
    home = os.environ.get("DAGSTER_HOME")
    return Path(home) if home else find_project().root / ".dagster"


def default_base() -> str:
    """Returns the store's base: `$ML_PLATFORM_ARTIFACTS`, else `artifacts` beside Dagster's own storage."""
    return os.environ.get("ML_PLATFORM_ARTIFACTS") or str(dagster_home() / "artifacts")


def default_branch() -> str:
    """Returns the branch whose heads to read and move: `$ML_PLATFORM_BRANCH`; empty: what production serves."""
    return os.environ.get("ML_PLATFORM_BRANCH", "")


def default_store() -> ArtifactStore:
    """Opens the store that a command or a notebook reads when nobody names another."""
    return ArtifactStore(default_base(), default_branch())
