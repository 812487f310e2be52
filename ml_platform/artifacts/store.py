"""Where does each version of each asset lie, and which one is current?

    objects/<digest>/...                         the files of one value, named by what is in them
    manifests/<asset>/<partition>/<id>.json      what was made, of what; immutable
    addresses/<address>.json                     the first manifest that a computation gave: what may be reused
    heads/<asset>/<partition>.json               the manifest that readers see; replaced in one operation
    branches/<branch>/heads/...                  the same for a branch, which reads the plain heads where it has none

A writer stages, hashes, publishes the object, then the manifest, then its address, then moves the head. Killed
anywhere before the last operation, it leaves the former version readable and nothing that a reader can see. Whatever a
reader can come to see is written behind a fence (`fenced_by`), which a process that lost its work does not pass. Who
moves no head (a notebook) or a branch's own changes nothing that others read.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, unquote

from ml_platform.artifacts.backends import open_backend, sha256_of
from ml_platform.artifacts.manifests import checked_id, checked_key, checked_name, parsed
from ml_platform.errors import ArtifactError, without_password

WHOLE = "_whole"  # the head's name of an asset without partitions
_LOG = logging.getLogger(__name__)


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
        return hashlib.sha256(self.to_bytes()).hexdigest()

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
        return json.dumps(asdict(self), sort_keys=True, allow_nan=False, indent=1).encode()

    @classmethod
    def from_bytes(cls, content: bytes, source: str) -> Self:
        """Reads a manifest.

        Raises:
            ArtifactError: if it is not one; `source` names it.
        """
        data = parsed(content, source)
        return cls(files=tuple(File(**entry) for entry in data.pop("files")), **data)


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
Write = Callable[[Path], Mapping[str, Any]]
Fence = Callable[[], AbstractContextManager[None]]


class ArtifactStore:
    """Values on a local folder or an object store.

    Args:
        base: a folder, or a URL that fsspec knows (`s3://bucket/path`).
        branch: whose heads to read and move; empty: those that production serves.
        options: passed to the file system of a URL.

    Raises:
        ArtifactError: a URL with a password in it, as messages and metadata say where a value lies.
    """

    def __init__(self, base: str, branch: str = "", **options: Any):
        if without_password(base) != base:
            raise ArtifactError(
                f"{without_password(base)}: a password stands in the store's URL; expected it where the file system "
                "looks for one, such as AWS_SECRET_ACCESS_KEY"
            )
        self.base = base
        self.branch = branch
        self._publishing: Fence = nullcontext
        self._backend = open_backend(base, **options)
        self._verified: set[str] = set()

    def fenced_by(self, publishing: Fence) -> Self:
        """Gives the same store, which holds `publishing` while a reader comes to see something."""
        other = copy(self)
        other._publishing = publishing
        return other

    def on_branch(self, branch: str) -> Self:
        """Gives the same store with the heads of a branch."""
        other = copy(self)
        other.branch = branch
        return other

    @property
    def _root(self) -> str:
        return f"branches/{_quoted(self.branch)}/" if self.branch else ""

    def __deepcopy__(self, _memo: Any) -> Self:
        return self  # a place, not a value: copies of an estimator read the same

    def add(self, asset: str, partition: str | None, kind: str, write: Write, origin: Origin = NOWHERE) -> Artifact:
        """Writes a value; no reader sees it until `promote`.

        Where the same computation was stored by another writer meanwhile, that value stands.

        Args:
            write: fills the folder that it is given and returns the artifact's facts.
        """
        with self._backend.staging() as staged:
            facts = write(staged)
            files = [File(p.name, sha256_of(p), p.stat().st_size) for p in sorted(staged.iterdir())]
            made = Artifact(asset, partition, kind, tuple(files), facts, origin.inputs, origin.recipe, origin.lineage)
            self._backend.publish_folder(staged, _object(made))
        self._keep_manifest(made)
        return made if made.address is None else self._settle(made, made.address)

    def _settle(self, made: Artifact, address: str) -> Artifact:
        """Gives the address to what was made, unless it has an intact value already."""
        with self._publishing():
            if self._backend.create(_address(address), made.to_bytes()):
                return made
        first = self.known(address)
        if first is None:
            self._publish(_address(address), made.to_bytes())
            return made
        if first.digest == made.digest:
            return made
        _LOG.warning(
            "%s: the same computation gave other bytes before (%s, now %s); the first stands; is the step random, or "
            "does it read what its code and inputs do not name?", made.label, first.digest[:12], made.digest[:12]
        )  # fmt: skip
        return self.adopt(first, made.asset, made.partition, Origin(made.inputs, made.recipe, made.lineage))

    def known(self, address: str) -> Artifact | None:
        """Gives what a computation gave before, None if it was never stored or its files are not whole."""
        content = self._backend.read(_address(address))
        if content is None:
            return None
        try:
            artifact = Artifact.from_bytes(content, f"{self.base}/{_address(address)}")
        except ArtifactError:
            artifact = None
        if artifact is None or artifact.address != address:
            self.forget(address)  # damaged, or another computation's: it is computed again
            return None
        expected = {file.name: file.size_bytes for file in artifact.files}
        return artifact if self._backend.sizes(_object(artifact)) == expected else None

    def adopt(self, known: Artifact, asset: str, partition: str | None, origin: Origin) -> Artifact:
        """Takes a known value for an asset, naming what it would be made of now; computes and copies nothing."""
        artifact = replace(known, asset=asset, partition=partition, inputs=origin.inputs, lineage=origin.lineage)
        self._keep_manifest(artifact)
        return artifact

    def forget(self, address: str | None) -> None:
        """Lets a computation be done again; what it gave before stays where it is."""
        if address is not None:
            self._backend.remove(_address(address))

    def _keep_manifest(self, artifact: Artifact) -> None:
        key, content = _manifest(artifact.asset, artifact.partition, artifact.id), artifact.to_bytes()
        with self._publishing():
            if not self._backend.create(key, content) and self._backend.read(key) != content:
                self._backend.write(key, content)  # named by what is in it, so what stood there was damaged

    def _publish(self, key: str, content: bytes) -> None:
        with self._publishing():
            self._backend.write(key, content)

    def promote(self, artifacts: Iterable[Artifact]) -> None:
        """Makes each artifact the current version of its asset and partition."""
        for artifact in artifacts:
            key = self._root + _head(artifact.asset, artifact.partition)
            content = artifact.to_bytes()
            if self._backend.read(key) != content:
                self._publish(key, content)

    def current(self, asset: str, partition: str | None = None) -> Artifact | None:
        """Gives the version that readers see, None if there is none."""
        key = _head(asset, partition)
        content = self._backend.read(self._root + key)
        if content is None and self.branch:
            content = self._backend.read(key)
        return None if content is None else _of(content, f"{self.base}/{self._root}{key}", asset, partition)

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
        found = hashlib.sha256(content).hexdigest()
        if found != artifact_id:
            raise ArtifactError(f"{self.base}/{key}: changed after it was written: expected its name, found {found}")
        return _of(content, f"{self.base}/{key}", asset, partition)

    def partitions(self, asset: str) -> list[str]:
        """Lists the partitions that have a current version, sorted."""
        names = {
            name for root in {self._root, ""} for name in self._backend.names(f"{root}heads/{checked_name(asset)}")
        }
        keys = (unquote(name.removesuffix(".json")) for name in names)
        return sorted(key for key in keys if key != WHOLE)

    def note(self, name: str, value: Any) -> None:
        """Keeps a small plain JSON value that no artifact depends on, such as the seconds that a step took."""
        self._backend.write(f"notes/{name}.json", json.dumps(value, sort_keys=True).encode())

    def noted(self, name: str) -> Any:
        """Gives what was noted last, None if nothing was."""
        content = self._backend.read(f"notes/{name}.json")
        try:
            return None if content is None else json.loads(content)
        except ValueError:
            return None  # damaged: nothing depends on it

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
                self.forget(artifact.address)
                raise
            self._verify_again(key, names, artifact)
        self._verified.add(artifact.digest)
        return folder

    def file(self, artifact: Artifact, name: str) -> Path:
        """Gives the local path of one of the artifact's files, verified.

        Raises:
            ArtifactError: if the manifest names no such file, or as `open` does.
        """
        if not artifact.has(name):
            named = [file.name for file in artifact.files]
            where = f"{self.base}/{_object(artifact)}"
            raise ArtifactError(f"{artifact.label}: expected a file {name} in {where}, found by its manifest: {named}")
        return self.open(artifact) / name

    def _verify_again(self, key: str, names: list[str], artifact: Artifact) -> None:
        try:
            _verify_all(self._backend.local_folder(key, names), artifact)
        except (ArtifactError, FileNotFoundError):
            self.forget(artifact.address)  # else "materialize it again" would reuse what is damaged
            raise


def _verify_all(folder: Path, artifact: Artifact) -> None:
    if folder.is_symlink():
        raise ArtifactError(f"{artifact.label}: {folder}: expected a folder, found a link to one; remove it")
    for file in artifact.files:
        _verify(folder / file.name, file, artifact.label)


def _verify(path: Path, file: File, label: str) -> None:
    if path.is_symlink():
        raise ArtifactError(f"{label}: {path}: expected a file, found a link to one; remove it")
    if not path.is_file():
        raise ArtifactError(
            f"{label}: file {path} is missing: expected {file.size_bytes:,} bytes; materialize the asset again"
        )
    found = sha256_of(path)
    if found != file.sha256:
        raise ArtifactError(
            f"{label}: file {path} is damaged: expected sha256 {file.sha256[:12]} and {file.size_bytes:,} bytes, "
            f"found {found[:12]} and {path.stat().st_size:,} bytes; materialize the asset again"
        )


def _of(content: bytes, source: str, asset: str, partition: str | None) -> Artifact:
    """Reads the manifest of an asset's partition, and refuses one of another."""
    artifact = Artifact.from_bytes(content, source)
    if (artifact.asset, artifact.partition) != (asset, partition):
        label = asset if partition is None else f"{asset}[{partition}]"
        raise ArtifactError(f"{source}: expected the manifest of {label}, found that of {artifact.label}")
    return artifact


def _object(artifact: Artifact) -> str:
    return f"objects/{artifact.digest[:2]}/{artifact.digest}"


def _manifest(asset: str, partition: str | None, artifact_id: str) -> str:
    return f"manifests/{checked_name(asset)}/{_quoted(partition)}/{checked_id(artifact_id, asset)}.json"


def _address(address: str) -> str:
    return f"addresses/{address[:2]}/{address}.json"


def _head(asset: str, partition: str | None) -> str:
    return f"heads/{checked_name(asset)}/{_quoted(partition)}.json"


def _quoted(partition: str | None) -> str:
    """Makes a name that is a file's, and no way out of its folder."""
    if partition is None:
        return WHOLE
    quoted = "%2E" * len(partition) if partition in (".", "..") else quote(partition, safe="")
    return checked_key(quoted, partition)
