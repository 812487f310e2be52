"""Keeps the list of unreachable objects that a later garbage collection of a bucket may delete."""

import json
import math
import time
import uuid
from collections.abc import Iterable

from ml_platform.artifacts.backend_protocol import Backend
from ml_platform.artifacts.inventory import CONDEMNED

_CLOCK_SECONDS = 60.0  # what moments that a bucket tells may be off


class Condemned:
    """What former sweeps condemned; in a folder, which has a lock, everything that is unneeded may go at once.

    Args:
        now: seconds since the epoch.
    """

    def __init__(self, backend: Backend, now: float):
        self._backend = backend
        self._began = time.monotonic()
        self._ripe: dict[str, float] = {}
        self._waiting: set[str] = set()
        self._done: list[str] = []
        if backend.waits_seconds:
            self._read(now)

    def _read(self, now: float) -> None:
        # The bucket's own clock dates ledgers and objects alike; this machine's may be minutes off.
        written = {entry.key: entry.used for entry in self._backend.entries(CONDEMNED)}
        for key, content in self._backend.read_all(written).items():
            ledger = json.loads(content)
            if now - written[key] < self._backend.waits_seconds:
                self._waiting |= set(ledger["keys"])
                continue
            # The ledger is written at the end of a sweep, but what was used since its beginning was not looked at
            # again.
            looked = written[key] - ledger["seconds"] - _CLOCK_SECONDS
            self._done.append(key)
            self._ripe |= dict.fromkeys(ledger["keys"], looked)

    def due(self, key: str) -> float | None:
        """Returns the time before which an unneeded thing must have been written to be removed now; None: it waits."""
        return self._ripe.get(key) if self._backend.waits_seconds else math.inf

    def close(self, doomed: Iterable[str]) -> None:
        """Condemns what is doomed, was not due, and waits in no ledger yet; forgets the ledgers that were due.

        Args:
            doomed: all that nothing needs now.
        """
        # What waits in another ledger is not condemned anew: that would start its day again, and nothing would ever go.
        keys = sorted(set(doomed) - self._waiting - self._ripe.keys())
        if keys:
            ledger = {"keys": keys, "seconds": time.monotonic() - self._began}
            self._backend.write(f"{CONDEMNED}/{uuid.uuid4().hex}.json", json.dumps(ledger).encode())
        # Last: killed before, the next sweep reads these ledgers again, and finds nothing left to remove.
        for key in self._done:
            self._backend.remove(key)
