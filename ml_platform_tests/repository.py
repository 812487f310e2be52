"""Where this repository's files are."""

from pathlib import Path


def project_root() -> Path:
    """Returns the folder of `pyproject.toml`."""
    return Path(__file__).parents[1]
