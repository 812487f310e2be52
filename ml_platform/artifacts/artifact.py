"""Says of one immutable value what it is, of what it was made, and by which computation: its manifest."""

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
        """Names the content alone: Dagster's data version."""
        listing = "".join(f"{file.sha256} {file.name}\n" for file in self.files)
        return hashlib.sha256(listing.encode()).hexdigest()

    @cached_property
    def id(self) -> str:
        """Names the whole manifest: content, computation and what it was made of."""
        return hashlib.sha256(self._canonical).hexdigest()

    @cached_property
    def address(self) -> str | None:
        """Names the computation, None where nobody said what it was: equal addresses have equal digests."""
        return address_of(self.recipe) if self.recipe else None

    @property
    def label(self) -> str:
        """Says which value this is, for people."""
        return self.asset if self.partition is None else f"{self.asset}[{self.partition}]"

    def has(self, name: str) -> bool:
        """Says whether a file of this name is part of the value."""
        return any(file.name == name for file in self.files)

    @property
    def size_bytes(self) -> int:
        """Adds up the files' sizes."""
        return sum(file.size_bytes for file in self.files)

    def to_bytes(self) -> bytes:
        """Gives the canonical JSON of the manifest."""
        return self._canonical

    @cached_property
    def _canonical(self) -> bytes:
        plain = {one.name: getattr(self, one.name) for one in fields(self)}
        files = [vars(file) for file in self.files]
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
            parsed(content, source)  # refuses it again, by its place
            raise


@lru_cache(maxsize=1024)
def _read(content: bytes) -> Artifact:
    data = parsed(content, "")
    return Artifact(files=tuple(File(**entry) for entry in data.pop("files")), **data)


@dataclass(frozen=True)
class Origin:
    """Where a value comes from; see `Artifact`."""

    inputs: Mapping[str, str] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    lineage: Mapping[str, Any] = field(default_factory=dict)


def address_of(recipe: Mapping[str, Any]) -> str:
    """Names a computation by all that decides its result."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True, allow_nan=False).encode()).hexdigest()


NOWHERE = Origin()
