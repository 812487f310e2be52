"""Chooses by a store's base where its bytes lie: in a folder, or in a bucket of S3."""

from typing import Any

from ml_platform.artifacts.buckets import ObjectBackend
from ml_platform.artifacts.folders import LocalBackend
from ml_platform.artifacts.places import Backend
from ml_platform.errors import ArtifactError

_EXPECTED = "expected a folder, file:///folder or s3://bucket/path"


def open_backend(base: str, **options: Any) -> Backend:
    """Opens a folder or a bucket.

    Raises:
        ArtifactError: a URL of another kind, where a file may be seen in part, or two may both create it.
    """
    scheme, separator, rest = base.partition("://")
    if scheme == "file" or base.startswith("file:"):
        return LocalBackend(_path_in(base, rest))
    if not separator:
        return LocalBackend(base)
    if scheme != "s3":
        raise ArtifactError(
            f"{base}: {_EXPECTED}; {scheme}:// is not known to show files whole or not at all, and to let one of two "
            "writers create a file"
        )
    return ObjectBackend(base, **options)


def _path_in(base: str, rest: str) -> str:
    """Takes the path out of a file's URL, and refuses what could be read in two ways."""
    path = rest.removeprefix("localhost") if rest.startswith("localhost/") else rest
    if not path.startswith("/"):
        raise ArtifactError(f"{base}: {_EXPECTED}; a file's URL has three slashes before its absolute path")
    if any(mark in path for mark in "%?#"):
        raise ArtifactError(f"{base}: {_EXPECTED}; with %, ? or # in its name, write the plain path")
    return path
