"""The `ml-platform` command."""

from ml_platform.cli.main import main

__all__ = ["main"]
