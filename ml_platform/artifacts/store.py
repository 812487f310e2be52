"""Where does each version of each asset lie, and which one is current?

    objects/<digest>/...                         the files of one value, named by what is in them
    manifests/<asset>/<partition>/<id>.json      what was made, of what; immutable
    heads/<asset>/<partition>.json               the manifest that readers see; replaced in one operation

A writer stages, hashes, publishes the object, then the manifest, then moves the head. Killed anywhere before the
last operation, it leaves the former version readable and nothing that a reader can see.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, unquote

from ml_platform.artifacts.backends import open_backend, sha256_of
from ml_platform.errors import ArtifactError

WHOLE = "_whole"  # the head's name of an asset without partitions


@dataclass(frozen=True)
class File:
    """One file of an artifact."""

    name: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Artifact:
    """The manifest of one immutable value.

    `digest` names the content alone (Dagster's data version); `id` also names what it was made of.
    `facts` are plain JSON: rows, columns, the split, metrics.
    """

    asset: str
    partition: str | None
    kind: str
    files: tuple[File, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """Hashes names and contents of the files."""
        listing = "".join(f"{file.sha256} {file.name}\n" for file in self.files)
        return hashlib.sha256(listing.encode()).hexdigest()

    @cached_property
    def id(self) -> str:
        """Hashes the whole manifest."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @property
    def label(self) -> str:
        """Says which value this is, for people."""
        return self.asset if self.partition is None else f"{self.asset}[{self.partition}]"

    @property
    def size_bytes(self) -> int:
        """Adds up the files' sizes."""
        return sum(file.size_bytes for file in self.files)

    def to_bytes(self) -> bytes:
        """Gives the canonical JSON of the manifest."""
        return json.dumps(asdict(self), sort_keys=True, allow_nan=False, indent=1).encode()

    @classmethod
    def from_bytes(cls, content: bytes, source: str) -> Self:
        """Reads a manifest.

        Raises:
            ArtifactError: if it is not one; `source` names it.
        """
        try:
            data = json.loads(content)
            files = tuple(File(**entry) for entry in data.pop("files"))
            return cls(files=files, **data)
        except (ValueError, TypeError, KeyError) as error:
            raise ArtifactError(f"{source}: not a manifest ({error}); materialize the asset again") from error


class ArtifactStore:
    """Values on a local folder or an object store.

    Args:
        base: a folder, or a URL that fsspec knows (`s3://bucket/path`).
        options: passed to the file system of a URL.
    """

    def __init__(self, base: str, **options: Any):
        self.base = base
        self._backend = open_backend(base, **options)
        self._verified: set[str] = set()

    def add(
        self,
        asset: str,
        partition: str | None,
        kind: str,
        write: Callable[[Path], Mapping[str, Any]],
        inputs: Mapping[str, str] | None = None,
    ) -> Artifact:
        """Writes a value; no reader sees it until `promote`.

        Args:
            write: fills the folder that it is given and returns the artifact's facts.
            inputs: label to id of what the value was made of.
        """
        with self._backend.staging() as staged:
            facts = write(staged)
            files = [File(p.name, sha256_of(p), p.stat().st_size) for p in sorted(staged.iterdir())]
            artifact = Artifact(asset, partition, kind, tuple(files), facts, inputs or {})
            self._backend.publish_folder(staged, _object(artifact))
        self._backend.write(_manifest(asset, partition, artifact.id), artifact.to_bytes(), replace=False)
        return artifact

    def promote(self, artifacts: Iterable[Artifact]) -> None:
        """Makes each artifact the current version of its asset and partition."""
        for artifact in artifacts:
            self._backend.write(_head(artifact.asset, artifact.partition), artifact.to_bytes(), replace=True)

    def current(self, asset: str, partition: str | None = None) -> Artifact | None:
        """Gives the version that readers see, None if there is none."""
        key = _head(asset, partition)
        content = self._backend.read(key)
        return None if content is None else Artifact.from_bytes(content, f"{self.base}/{key}")

    def require(self, asset: str, partition: str | None = None) -> Artifact:
        """Gives the version that readers see.

        Raises:
            ArtifactError: if there is none; names asset and partition.
        """
        artifact = self.current(asset, partition)
        if artifact is None:
            label = asset if partition is None else f"{asset}[{partition}]"
            raise ArtifactError(f"{label}: nothing there in {self.base}; materialize it first")
        return artifact

    def version(self, asset: str, artifact_id: str, partition: str | None = None) -> Artifact:
        """Gives one version by its id, current or not."""
        key = _manifest(asset, partition, artifact_id)
        content = self._backend.read(key)
        if content is None:
            raise ArtifactError(f"{asset}: no version {artifact_id} in {self.base}")
        return Artifact.from_bytes(content, f"{self.base}/{key}")

    def partitions(self, asset: str) -> list[str]:
        """Lists the partitions that have a current version, sorted."""
        names = self._backend.names(f"heads/{asset}")
        keys = (unquote(name.removesuffix(".json")) for name in names)
        return sorted(key for key in keys if key != WHOLE)

    def open(self, artifact: Artifact) -> Path:
        """Gives a local folder with the artifact's files, verified.

        Raises:
            ArtifactError: if a file is missing or not what the manifest says.
        """
        key, names = _object(artifact), [file.name for file in artifact.files]
        folder = self._backend.local_folder(key, names)
        if artifact.digest in self._verified:
            return folder
        try:
            _verify_all(folder, artifact)
        except ArtifactError:
            if not self._backend.forget(key):
                raise
            _verify_all(self._backend.local_folder(key, names), artifact)
        self._verified.add(artifact.digest)
        return folder


def _verify_all(folder: Path, artifact: Artifact) -> None:
    for file in artifact.files:
        _verify(folder / file.name, file, artifact.label)


def _verify(path: Path, file: File, label: str) -> None:
    if not path.is_file():
        raise ArtifactError(f"{label}: file {path} is missing; materialize the asset again")
    found = sha256_of(path)
    if found != file.sha256:
        raise ArtifactError(
            f"{label}: file {path} is damaged: expected sha256 {file.sha256[:12]} and {file.size_bytes:,} bytes, "
            f"found {found[:12]} and {path.stat().st_size:,} bytes; materialize the asset again"
        )


def _object(artifact: Artifact) -> str:
    return f"objects/{artifact.digest[:2]}/{artifact.digest}"


def _manifest(asset: str, partition: str | None, artifact_id: str) -> str:
    return f"manifests/{asset}/{_quoted(partition)}/{artifact_id}.json"


def _head(asset: str, partition: str | None) -> str:
    return f"heads/{asset}/{_quoted(partition)}.json"


def _quoted(partition: str | None) -> str:
    return WHOLE if partition is None else quote(partition, safe="")
