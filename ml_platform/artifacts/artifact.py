"""Defines `Artifact`, the manifest of a stored value, and hashes a computation into its cache key."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache
from typing import Any

from ml_platform.artifacts.manifests import parsed
from ml_platform.errors import ArtifactError


@dataclass(frozen=True)
class File:
    """One file of an artifact."""

    name: str
    sha256: str
    size_bytes: int


# What a field is called in stored manifests, where that is another name: ids are hashes of these bytes.
_STORED = {"computation": "recipe"}


@dataclass(frozen=True)
class Artifact:
    """The manifest of one immutable value.

    Attributes:
        facts: what the content is, as plain JSON: rows, columns, metrics.
        inputs: label to id of the manifests that it was made of.
        computation: what decides the result: version of the code, environment, split, label to digest of what went in.
        lineage: the steps on the way here, with the version of each and of what it had learnt.
    """

    asset: str
    partition: str | None
    kind: str
    files: tuple[File, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    computation: Mapping[str, Any] = field(default_factory=dict)
    lineage: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """Returns the hash of the content alone, which is Dagster's data version."""
        # In the order of the manifest, which is sorted by name: the digest names folders in stores, so these bytes must
        # not move.
        listing = "".join(f"{file.sha256} {file.name}\n" for file in self.files)
        return hashlib.sha256(listing.encode()).hexdigest()

    @cached_property
    def id(self) -> str:
        """Returns the hash of the whole manifest: content, computation and what it was made of."""
        return hashlib.sha256(self._canonical).hexdigest()

    @cached_property
    def cache_key(self) -> str | None:
        """Returns the hash of the computation, by which its result is found again; None if nobody said what it was."""
        return cache_key_of(self.computation) if self.computation else None

    @property
    def label(self) -> str:
        """Returns the asset and partition as messages show them."""
        return self.asset if self.partition is None else f"{self.asset}[{self.partition}]"

    def has(self, name: str) -> bool:
        """Returns whether a file of this name is part of the value."""
        return any(file.name == name for file in self.files)

    @property
    def size_bytes(self) -> int:
        """Returns the sum of the files' sizes."""
        return sum(file.size_bytes for file in self.files)

    def to_bytes(self) -> bytes:
        """Returns the canonical JSON of the manifest, which `id` is the hash of."""
        return self._canonical

    @cached_property
    def _canonical(self) -> bytes:
        plain = {_STORED.get(one.name, one.name): getattr(self, one.name) for one in fields(self)}
        files = [vars(file) for file in self.files]
        # The manifest's id is the hash of these bytes: key order, indentation and separators are part of the format.
        return json.dumps({**plain, "files": files}, sort_keys=True, allow_nan=False, indent=1).encode()

    @classmethod
    def from_bytes(cls, content: bytes, source: str) -> "Artifact":
        """Reads a manifest; the same bytes give the same object, which makes its canonical bytes once.

        Raises:
            ArtifactError: if it is not one; `source` names it.
        """
        try:
            return _read(content)
        except ArtifactError:
            # The cached reader does not know where the bytes come from, so the error is raised anew with their place.
            parsed(content, source)  # refuses it again, by its place
            raise


# Heads and cache keys are copies of manifests, and the same few are read again and again while a plan is made.
@lru_cache(maxsize=1024)
def _read(content: bytes) -> Artifact:
    data = parsed(content, "")
    files = tuple(File(**entry) for entry in data.pop("files"))
    return Artifact(files=files, computation=data.pop(_STORED["computation"], {}), **data)


@dataclass(frozen=True)
class Origin:
    """What a value was made of and by which computation; the fields are those of `Artifact`."""

    inputs: Mapping[str, str] = field(default_factory=dict)
    computation: Mapping[str, Any] = field(default_factory=dict)
    lineage: Mapping[str, Any] = field(default_factory=dict)


def cache_key_of(computation: Mapping[str, Any]) -> str:
    """Returns the hash of the canonical JSON of all that decides a result."""
    # No indent here, unlike in the manifest: existing stores have files under these hashes.
    return hashlib.sha256(json.dumps(computation, sort_keys=True, allow_nan=False).encode()).hexdigest()


NOWHERE = Origin()
