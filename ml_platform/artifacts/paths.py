"""Builds the paths of objects, manifests, cache entries and heads inside a store."""

from urllib.parse import quote

from ml_platform.artifacts.artifact import Artifact
from ml_platform.artifacts.manifests import checked_id, checked_key, checked_name

WHOLE = "_whole"  # the head's name of an asset without partitions


def object_key(artifact: Artifact) -> str:
    """Returns the folder of a value's files."""
    # Two digits first: folders of a hundred thousand entries are slow to list on most file systems.
    return f"objects/{artifact.digest[:2]}/{artifact.digest}"


def manifest_key(asset: str, partition: str | None, artifact_id: str) -> str:
    """Returns the key of the manifest of a version."""
    return f"manifests/{checked_name(asset)}/{quoted(partition)}/{checked_id(artifact_id, asset)}.json"


def cache_entry_key(cache_key: str) -> str:
    """Returns the key of the file that holds the first manifest of a computation."""
    return f"addresses/{cache_key[:2]}/{cache_key}.json"


def head_key(asset: str, partition: str | None) -> str:
    """Returns the key of the manifest that readers of an asset's partition see."""
    return f"heads/{checked_name(asset)}/{quoted(partition)}.json"


def quoted(partition: str | None) -> str:
    """Returns a partition's or a branch's name as that of one file, which cannot lead out of its folder."""
    if partition is None:
        return WHOLE
    # quote leaves dots alone, and "." and ".." are no files.
    name = "%2E" * len(partition) if partition in (".", "..") else quote(partition, safe="")
    return checked_key(name, partition)
