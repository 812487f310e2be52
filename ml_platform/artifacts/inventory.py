"""Sorts the files of a store by what they are: values, manifests, cache keys, leftovers, foreign files."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from ml_platform.artifacts.backend_protocol import Entry
from ml_platform.artifacts.folders import LOCK

CONDEMNED = "condemned"
_VALUE = re.compile(r"objects/[0-9a-f]{2}/([0-9a-f]{64})/[^/]+")
_MANIFEST = re.compile(r"manifests/.+/([0-9a-f]{64})\.json")
_CACHE_ENTRY = re.compile(r"addresses/[0-9a-f]{2}/([0-9a-f]{64})\.json")
_BESIDE = re.compile(r"(?:.*/)?\.[^/]+\.\d+-[0-9a-f]{32}")  # written beside its target, to be renamed over it
_KEPT = re.compile(rf"heads/.+\.json|branches/[^/]+/heads/.+\.json|notes/.+\.json|{CONDEMNED}/[^/]+\.json|{LOCK}")


@dataclass
class Listing:
    """What lies in a store.

    Attributes:
        values: digest to a value's folder, used when the last of its files was.
        manifests: id to the manifest.
        cache_entries: cache key to its file.
        leftovers: small files that were never renamed to what they were to be.
        foreign: what no store writes.
    """

    values: dict[str, Entry] = field(default_factory=dict)
    manifests: dict[str, Entry] = field(default_factory=dict)
    cache_entries: dict[str, Entry] = field(default_factory=dict)
    leftovers: dict[str, Entry] = field(default_factory=dict)
    foreign: list[str] = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        """Adds a file under the kind that its key says."""
        # First, as such a file lies beside its target and its key may match that of a manifest otherwise.
        if _BESIDE.fullmatch(entry.key):
            self.leftovers[entry.key] = entry
        elif match := _VALUE.fullmatch(entry.key):
            self._add_file(match[1], entry)
        elif match := _MANIFEST.fullmatch(entry.key):
            self.manifests[match[1]] = entry
        elif match := _CACHE_ENTRY.fullmatch(entry.key):
            self.cache_entries[match[1]] = entry
        # Heads, notes, ledgers and the lock are neither counted nor removed here. All else is somebody's: it is
        # reported and left.
        elif not _KEPT.fullmatch(entry.key):
            self.foreign.append(entry.key)

    def _add_file(self, digest: str, entry: Entry) -> None:
        key, before = entry.key.rpartition("/")[0], self.values.get(digest)
        size, used = (before.size_bytes, before.used) if before else (0, 0.0)
        # A value is as young as the youngest of its files: marking it as used touches one of them.
        self.values[digest] = Entry(key, size + entry.size_bytes, max(used, entry.used))


def listed(entries: Iterable[Entry]) -> Listing:
    """Returns files, sorted by what they are."""
    found = Listing()
    for entry in entries:
        found.add(entry)
    return found
