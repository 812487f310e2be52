"""Names where in a store a value's files, its manifests, its computation and its head lie."""

from urllib.parse import quote

from ml_platform.artifacts.artifact import Artifact
from ml_platform.artifacts.manifests import checked_id, checked_key, checked_name

WHOLE = "_whole"  # the head's name of an asset without partitions


def object_key(artifact: Artifact) -> str:
    """Names the folder of a value's files."""
    return f"objects/{artifact.digest[:2]}/{artifact.digest}"


def manifest_key(asset: str, partition: str | None, artifact_id: str) -> str:
    """Names the manifest of a version."""
    return f"manifests/{checked_name(asset)}/{quoted(partition)}/{checked_id(artifact_id, asset)}.json"


def address_key(address: str) -> str:
    """Names the file that says what a computation gave."""
    return f"addresses/{address[:2]}/{address}.json"


def head_key(asset: str, partition: str | None) -> str:
    """Names what readers of an asset's partition see."""
    return f"heads/{checked_name(asset)}/{quoted(partition)}.json"


def quoted(partition: str | None) -> str:
    """Makes a name that is a file's, and no way out of its folder."""
    if partition is None:
        return WHOLE
    name = "%2E" * len(partition) if partition in (".", "..") else quote(partition, safe="")
    return checked_key(name, partition)
