"""Removes from a store what no head reaches and nobody used lately, while writers are at work.

What leads to a value goes first (its cache key, its manifest), then its bytes: killed anywhere, a sweep leaves a store
whose values are whole, and the next one ends it. In a folder, whoever comes to rely on a value says so by a file's time
while it holds a lock, and what was used since the sweep looked stays. A bucket has no lock: there, what is not needed
is condemned, and a sweep that comes a day later removes of it what still is not.
"""

import math
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field

from ml_platform.artifacts.backend_protocol import Backend, Entry
from ml_platform.artifacts.inventory import Listing, listed
from ml_platform.artifacts.pending_deletions import Condemned
from ml_platform.artifacts.reachability import current_in, reach_of
from ml_platform.errors import first_few

LEFTOVER_SECONDS = 86_400.0  # a small file is written in less
_REPORT_EVERY = 500
Due = Callable[[str], float | None]


@dataclass
class Count:
    """How many things of a kind there were, and what became of them.

    Attributes:
        deleted: how many were removed; of a dry run, how many would be.
        waiting: how many nothing needs, and a later sweep removes.
    """

    kept: int = 0
    deleted: int = 0
    waiting: int = 0
    freed_bytes: int = 0


@dataclass
class Collected:
    """What a sweep removed of each kind of thing, with remarks for people."""

    counts: dict[str, Count] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


class Sweep:
    """One look at a store, after which what nothing needs is removed.

    Args:
        base: where the store lies, for messages.
        since: what was made or used since then stays; seconds since the epoch.
        now: the same for this moment.
        is_dry: whether only to say what would be removed.
        report: called with what long work is at, for a progress line.
    """

    def __init__(
        self, backend: Backend, base: str, since: float, now: float, *, is_dry: bool = False,
        report: Callable[[str], None] = lambda _: None,
    ):  # fmt: skip
        self._backend = backend
        self._base = base
        self._since = since
        self._now = now
        self._is_dry = is_dry
        self._report = report
        self.collected = Collected()

    def run(self) -> Collected:
        """Lists the store, then removes what nothing needs.

        Raises:
            ArtifactError: a head that cannot be read: what it reaches cannot be told, so nothing is removed.
        """
        # A writer that began before may hold values that no head names yet: everything since its beginning stays.
        self._since = min([self._since, *(one.started for one in self._backend.staged() if one.is_held)])
        condemned = Condemned(self._backend, self._now)
        current = current_in(self._backend, self._base)  # first: what stops being current says that it was used
        self._report(f"{len(current):,} heads; listing {self._base}")
        # After the heads: a value that is published between the two is too young to be removed, whereas a head read
        # later could name one that the listing lacks.
        listing = listed(self._backend.entries())
        reach = reach_of(self._backend, current, listing, self._since, self._report)
        self.collected.counts["heads"] = Count(kept=len(current))
        self._remove_leftovers(listing)
        # What leads to a value goes before the value: cut off anywhere, nothing points at what is gone. Cache entries
        # need no ledger, as a computation without one is only done again.
        self._remove("cache_entries", listing.cache_entries, reach.cache_keys, lambda _: math.inf)
        doomed = self._remove("versions", listing.manifests, reach.ids, condemned.due)
        doomed |= self._remove("values", listing.values, reach.digests, condemned.due)
        if self._backend.waits_seconds and not self._is_dry:
            condemned.close(doomed)
        self._remark(listing, len(reach.missing))
        return self.collected

    def _remove(self, kind: str, found: Mapping[str, Entry], needed: Container[str], due: Due) -> set[str]:
        """Removes what of a kind is not needed and is due; returns the keys of all that is not needed."""
        doomed = {entry.key: entry.size_bytes for name, entry in found.items() if name not in needed}
        # Never later than `since`: what was used after the listing keeps its place, whatever a ledger allows.
        moments = {key: min(self._since, moment) for key in doomed if (moment := due(key)) is not None}
        gone = set()
        for key in moments if self._is_dry else self._backend.discard(moments):
            gone.add(key)
            if len(gone) % _REPORT_EVERY == 0:
                self._report(f"removed {len(gone):,} of {len(moments):,} {kind}")
        waiting = len(doomed) - len(moments)
        freed_bytes = sum(doomed[key] for key in gone)
        self.collected.counts[kind] = Count(len(found) - len(gone) - waiting, len(gone), waiting, freed_bytes)
        return set(doomed)

    def _remove_leftovers(self, listing: Listing) -> None:
        """Removes what killed writers left: folders that nobody holds, small files that are old."""
        # A small file beside its target belongs to a writer that is about to rename it; a day later nobody is.
        before = min(self._since, self._now - LEFTOVER_SECONDS)
        old = {key: entry.size_bytes for key, entry in listing.leftovers.items() if entry.used < before}
        staged = self._backend.staged() if self._is_dry else self._backend.sweep()
        free = [one.size_bytes for one in staged if not one.is_held]
        gone = list(old if self._is_dry else self._backend.discard(dict.fromkeys(old, before)))
        kept = len(listing.leftovers) - len(gone) + len(staged) - len(free)
        freed_bytes = sum(free) + sum(old[key] for key in gone)
        self.collected.counts["leftovers"] = Count(kept, len(free) + len(gone), 0, freed_bytes)

    def _remark(self, listing: Listing, missing: int) -> None:
        if missing:
            self.collected.remarks.append(f"{missing:,} versions that needed ones were made of are not there")
        if listing.foreign:
            self.collected.remarks.append(
                f"{len(listing.foreign):,} files that no store writes stay: {first_few(sorted(listing.foreign), 3)}"
            )
