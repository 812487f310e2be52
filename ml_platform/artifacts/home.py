"""Where is this project, and where are its artifacts?"""

import os
from pathlib import Path

from ml_platform.artifacts.store import ArtifactStore


def project_root() -> Path:
    """Gives the folder that holds `pyproject.toml` and the package."""
    return Path(__file__).parents[2]


def dagster_home() -> Path:
    """Gives the local instance's folder: `$DAGSTER_HOME`, else `.dagster` in the project."""
    return Path(os.environ.get("DAGSTER_HOME") or project_root() / ".dagster")


def default_base() -> str:
    """Gives the store's base: `$ML_PLATFORM_ARTIFACTS`, else `artifacts` beside Dagster's own storage."""
    return os.environ.get("ML_PLATFORM_ARTIFACTS") or str(dagster_home() / "artifacts")


def default_branch() -> str:
    """Gives the branch whose heads to read and move: `$ML_PLATFORM_BRANCH`; empty: what production serves."""
    return os.environ.get("ML_PLATFORM_BRANCH", "")


def default_store() -> ArtifactStore:
    """Opens the store that a command or a notebook reads when nobody names another."""
    return ArtifactStore(default_base(), default_branch())
