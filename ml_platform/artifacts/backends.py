"""Opens the backend of a store by its URL: a folder, a bucket of S3, or one that a plugin adds."""

from typing import Any

from ml_platform.artifacts.backend_protocol import Backend
from ml_platform.artifacts.buckets import ObjectBackend
from ml_platform.artifacts.folders import LocalBackend
from ml_platform.errors import ArtifactError
from ml_platform.extras import is_installed, missing
from ml_platform.plugins import added, load

_GROUP = "ml_platform.storages"  # of entry points: a scheme, and the class of backends that keeps what `Backend` says
_EXPECTED = "expected a folder, file:///folder or s3://bucket/path"


def open_backend(base: str, **options: Any) -> Backend:
    """Opens a folder, a bucket of S3, or the backend that an installed distribution registers for a URL's scheme.

    Raises:
        ArtifactError: a URL of another kind, where a file may be seen in part, or two may both create it.
        MissingExtra: a bucket, without the package that reaches it.
    """
    scheme, separator, rest = base.partition("://")
    if scheme == "file" or base.startswith("file:"):
        return LocalBackend(_path_in(base, rest))
    if not separator:
        return LocalBackend(base)
    # Plugins come before S3, so that one may bring its own S3; folders cannot be taken over.
    if scheme in added(_GROUP):
        return load(_GROUP, scheme)(base, **options)  # type: ignore[no-any-return]
    # fsspec would open many more. Atomic puts and conditional creation were tried on S3 alone, and a place without them
    # loses values silently.
    if scheme != "s3":
        raise ArtifactError(
            f"{base}: {_EXPECTED}; {scheme}:// is not known to show files whole or not at all, and to let one of two "
            "writers create a file"
        )
    if not is_installed("s3fs"):
        raise missing("s3fs")
    return ObjectBackend(base, **options)


def _path_in(base: str, rest: str) -> str:
    """Returns the path of a `file://` URL, and refuses one that could be read in two ways."""
    path = rest.removeprefix("localhost") if rest.startswith("localhost/") else rest
    if not path.startswith("/"):
        raise ArtifactError(f"{base}: {_EXPECTED}; a file's URL has three slashes before its absolute path")
    # Whether %20 is a space or three characters depends on who reads the URL; two readers would open two stores.
    if any(mark in path for mark in "%?#"):
        raise ArtifactError(f"{base}: {_EXPECTED}; with %, ? or # in its name, write the plain path")
    return path
