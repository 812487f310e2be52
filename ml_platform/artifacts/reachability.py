"""Marks the manifests, values and cache entries that are reachable from heads, or were used lately."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ml_platform.artifacts.artifact import Artifact
from ml_platform.artifacts.backend_protocol import Backend, Entry
from ml_platform.artifacts.inventory import Listing
from ml_platform.errors import ArtifactError


@dataclass
class Reach:
    """What must stay in a store.

    Attributes:
        ids: of manifests.
        digests: of values.
        cache_keys: of computations whose results are needed.
        missing: ids that a needed manifest names, and no manifest has.
    """

    ids: set[str] = field(default_factory=set)
    digests: set[str] = field(default_factory=set)
    cache_keys: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)

    def take(self, artifact: Artifact) -> set[str]:
        """Marks a version as needed; returns the ids of what it was made of."""
        self.ids.add(artifact.id)
        self.digests.add(artifact.digest)
        self.cache_keys |= {artifact.cache_key} if artifact.cache_key else set()
        return set(artifact.inputs.values())


def current_in(backend: Backend, base: str) -> list[Artifact]:
    """Reads all heads, production's and the branches'.

    Raises:
        ArtifactError: one that cannot be read, as what it reaches cannot be told.
    """
    # Heads that are being renamed into place start with a dot; their content is not current yet.
    keys = [one.key for prefix in ("heads", "branches") for one in backend.entries(prefix) if _is_head(one.key)]
    return [Artifact.from_bytes(content, f"{base}/{key}") for key, content in backend.read_all(keys).items()]


def _is_head(key: str) -> bool:
    return key.endswith(".json") and not key.rpartition("/")[2].startswith(".")


def reach_of(
    backend: Backend, current: Iterable[Artifact], listing: Listing, since: float, report: Callable[[str], None]
) -> Reach:
    """Returns all that heads, and what was used since a moment, were made of.

    A reader follows `inputs`, by ids, as far as the sources; values are found by the digests of these manifests. What
    a cache key that stays would give stays as well.
    """
    found = Reach()
    wanted = {id_ for artifact in current for id_ in found.take(artifact)}
    wanted |= {id_ for id_, entry in listing.manifests.items() if entry.used >= since}
    # A generation at a time, so that a bucket is asked for many manifests in one call. Inputs form no cycle, as an id
    # is a hash of what it names.
    while wanted := wanted - found.ids - found.missing:
        report(f"following {len(wanted):,} versions")
        read = _read(backend, {id_: listing.manifests[id_] for id_ in wanted if id_ in listing.manifests})
        found.missing |= wanted - read.keys()
        wanted = {id_ for artifact in read.values() for id_ in found.take(artifact)}
    found.digests |= {digest for digest, entry in listing.values.items() if entry.used >= since}
    found.cache_keys |= {cache_key for cache_key, entry in listing.cache_entries.items() if entry.used >= since}
    # Last: a cache key that stays may lead to a value that no manifest above names, as the next run would adopt it.
    stay = {
        cache_key: listing.cache_entries[cache_key] for cache_key in found.cache_keys & listing.cache_entries.keys()
    }
    found.digests |= {artifact.digest for artifact in _read(backend, stay, by_id=False).values()}
    return found


def _read(backend: Backend, entries: Mapping[str, Entry], *, by_id: bool = True) -> dict[str, Artifact]:
    """Reads manifests, damaged ones left out: a reader could not use them either."""
    contents = backend.read_all(entry.key for entry in entries.values())
    found = {}
    for name, entry in entries.items():
        content = contents.get(entry.key)
        # A manifest is named by its hash; a cache entry by the hash of a computation, which its readers check.
        if content is None or (by_id and hashlib.sha256(content).hexdigest() != name):
            continue
        try:
            found[name] = Artifact.from_bytes(content, entry.key)
        except ArtifactError:
            continue
    return found
