"""Defines the manifest of a stored value: its files, what it was made of, and by which computation."""

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


@dataclass(frozen=True)
class Artifact:
    """The manifest of one immutable value.

    Attributes:
        facts: what the content is, as plain JSON: rows, columns, metrics.
        inputs: label to id of the manifests that it was made of.
        recipe: the computation: versions of the code, environment, split, label to digest of what went in.
        lineage: the steps on the way here, with the version of each and of what it had learnt.
    """

    asset: str
    partition: str | None
    kind: str
    files: tuple[File, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
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
    def address(self) -> str | None:
        """Returns the hash of the recipe, by which a computation's result is found again; None without a recipe."""
        return address_of(self.recipe) if self.recipe else None

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
        plain = {one.name: getattr(self, one.name) for one in fields(self)}
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


# Heads and addresses are copies of manifests, and the same few are read again and again while a plan is made.
@lru_cache(maxsize=1024)
def _read(content: bytes) -> Artifact:
    data = parsed(content, "")
    return Artifact(files=tuple(File(**entry) for entry in data.pop("files")), **data)


@dataclass(frozen=True)
class Origin:
    """What a value was made of and by which computation; the fields are those of `Artifact`."""

    inputs: Mapping[str, str] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    lineage: Mapping[str, Any] = field(default_factory=dict)


def address_of(recipe: Mapping[str, Any]) -> str:
    """Returns the hash of a recipe, the canonical JSON of all that decides a computation's result."""
    # No indent here, unlike in the manifest: existing stores have files under these hashes.
    return hashlib.sha256(json.dumps(recipe, sort_keys=True, allow_nan=False).encode()).hexdigest()


NOWHERE = Origin()
