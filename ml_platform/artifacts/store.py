"""Keeps the versions of each asset, finds them by computation, and says which one is current.

    objects/<digest>/...                         the files of one value, named by what is in them
    manifests/<asset>/<partition>/<id>.json      what was made, of what; immutable
    addresses/<cache key>.json                     the first manifest that a computation gave: what may be reused
    heads/<asset>/<partition>.json               the manifest that readers see; replaced in one operation
    branches/<branch>/heads/...                  the same for a branch, which reads the plain heads where it has none

A writer stages, hashes, publishes the object, then the manifest, then its cache key, then moves the head. Killed
anywhere before the last operation, it leaves the former version readable and nothing that a reader can see. Whatever a
reader can come to see is written behind a fence (`fenced_by`), which a process that lost its work does not pass. Who
moves no head (a notebook) or a branch's own changes nothing that others read. What nobody needs is removed
(`retention.py`); so whatever is reused, or made current, is looked for, and says that it is used.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote

from ml_platform.artifacts.artifact import NOWHERE, Artifact, File, Origin
from ml_platform.artifacts.backend_protocol import sha256_of
from ml_platform.artifacts.backends import open_backend
from ml_platform.artifacts.manifests import checked_name
from ml_platform.artifacts.paths import WHOLE, cache_entry_key, head_key, manifest_key, object_key, quoted
from ml_platform.errors import ArtifactError, without_password

_LOG = logging.getLogger(__name__)

Write = Callable[[Path], Mapping[str, Any]]
Fence = Callable[[], AbstractContextManager[None]]


class ArtifactStore:
    """Values on a local folder or an object store.

    Args:
        base: a folder (also as `file:///folder`), or `s3://bucket/path`.
        branch: whose heads to read and move; empty: those that production serves.
        options: passed to the file system of a URL.

    Raises:
        ArtifactError: a URL of another kind, or with a password in it, as messages and metadata say where a value lies.
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
        """Returns the same store, which enters `publishing` around every write that readers can see."""
        other = copy(self)
        other._publishing = publishing
        return other

    def on_branch(self, branch: str) -> Self:
        """Returns the same store with the heads of a branch."""
        other = copy(self)
        other.branch = branch
        return other

    @property
    def _root(self) -> str:
        return f"branches/{quoted(self.branch)}/" if self.branch else ""

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
            made = Artifact(
                asset, partition, kind, tuple(files), facts, origin.inputs, origin.computation, origin.lineage
            )
            # Files, manifest, cache key, and later the head: each is whole before the next one points at it.
            self._backend.publish_folder(staged, object_key(made))
            self._keep_manifest(made)
            return made if made.cache_key is None else self._register_cache_entry(made, made.cache_key)

    def _register_cache_entry(self, made: Artifact, cache_key: str) -> Artifact:
        """Puts what was made under its cache key; returns the value that stands there, or that is adopted from it."""
        with self._publishing():
            # Whoever creates the file first decides what this computation gives. A look and a write would let two
            # workers each keep their own bytes.
            if self._backend.create(cache_entry_key(cache_key), made.to_bytes()):
                return made
        first = self.find(cache_key)
        # The cache key is taken, but what it names is damaged or gone: it is replaced, not respected.
        if first is None:
            self._publish(cache_entry_key(cache_key), made.to_bytes())
            return made
        if first.digest == made.digest:
            return made
        _LOG.warning(
            "%s: the same computation gave other bytes before (%s, now %s); the first stands; is the step random, or "
            "does it read what its code and inputs do not name?", made.label, first.digest[:12], made.digest[:12]
        )  # fmt: skip
        return self.adopt(first, made.asset, made.partition, Origin(made.inputs, made.computation, made.lineage))

    def find(self, cache_key: str) -> Artifact | None:
        """Returns the value that is stored for a computation; None if there is none, or its files are not whole."""
        content = self._backend.read(cache_entry_key(cache_key))
        if content is None:
            return None
        try:
            artifact = Artifact.from_bytes(content, f"{self.base}/{cache_entry_key(cache_key)}")
        except ArtifactError:
            artifact = None
        # Removing it is safe, as the worst that follows is the same computation once more.
        if artifact is None or artifact.cache_key != cache_key:
            self.forget(cache_key)  # damaged, or another computation's: it is computed again
            return None
        return artifact if self._holds(artifact) else None

    def _holds(self, artifact: Artifact) -> bool:
        """Whether a value's files are there; if so, they are marked as used now."""
        key = object_key(artifact)
        try:
            # Held by its cache key: a sweep that has just removed that has decided that the value goes.
            found = self._backend.hold(key, cache_entry_key(artifact.cache_key) if artifact.cache_key else None)
        except ArtifactError:
            # Times of another user's files cannot be set. That user's store is not swept by us, so looking is enough.
            found = self._backend.sizes(key)  # somebody else's, to be read
        return found == {file.name: file.size_bytes for file in artifact.files}

    def adopt(self, known: Artifact, asset: str, partition: str | None, origin: Origin) -> Artifact:
        """Takes a stored value for an asset, with what it would be made of now; nothing is computed or copied."""
        adopted = replace(known, asset=asset, partition=partition, inputs=origin.inputs, lineage=origin.lineage)
        artifact = known if adopted == known else adopted  # which has made its bytes
        self._keep_manifest(artifact)
        return artifact

    def forget(self, cache_key: str | None) -> None:
        """Removes a cache key, so that its computation is done again; the value stays where it is."""
        if cache_key is not None:
            self._backend.remove(cache_entry_key(cache_key))

    def _keep_manifest(self, artifact: Artifact) -> None:
        key = manifest_key(artifact.asset, artifact.partition, artifact.id)
        with self._publishing():
            self._backend.keep(key, artifact.to_bytes())

    def _publish(self, key: str, content: bytes) -> None:
        with self._publishing():
            self._backend.write(key, content)

    def promote(self, artifacts: Iterable[Artifact]) -> None:
        """Makes each artifact the current version of its asset and partition; what was current counts as used till now.

        Raises:
            ArtifactError: the files of one are not there (any more); no head was moved.
        """
        keys = {self._root + head_key(one.asset, one.partition): one for one in artifacts}
        # Read before the lock, as reading may take long; a head that moved meanwhile is written over, as the last one
        # wins.
        formers = {key: self._backend.read(key) for key in keys}
        moved = {key: one for key, one in keys.items() if formers[key] != one.to_bytes()}
        with self._backend.relying():
            # Two loops: all files of all partitions are looked for before the first head moves, so that a range becomes
            # current whole or not at all.
            for one in moved.values():
                self._require_files(one)
            for key, one in moved.items():
                # The head last: before it, a kill leaves the former version current, and its manifest marked as used.
                self._keep_former(formers[key], one)
                self._keep_manifest(one)
                self._publish(key, one.to_bytes())

    def _require_files(self, artifact: Artifact) -> None:
        found = self._backend.hold(object_key(artifact))
        missing = [file.name for file in artifact.files if file.name not in found]
        if missing:
            where = f"{self.base}/{object_key(artifact)}"
            raise ArtifactError(f"{artifact.label}: {missing[0]} is not in {where} any more; materialize it again")

    def _keep_former(self, content: bytes | None, artifact: Artifact) -> None:
        """Marks what was current as used: whoever reads it now may name it later as what a value was made of."""
        with suppress(ArtifactError):
            if content is not None:
                former = _of(content, "", artifact.asset, artifact.partition)
                self._backend.keep(manifest_key(former.asset, former.partition, former.id), former.to_bytes())

    def current(self, asset: str, partition: str | None = None) -> Artifact | None:
        """Returns the version that readers see; None if there is none."""
        key = head_key(asset, partition)
        content = self._backend.read(self._root + key)
        # A branch that never wrote an asset reads production's.
        if content is None and self.branch:
            content = self._backend.read(key)
        return None if content is None else _of(content, f"{self.base}/{self._root}{key}", asset, partition)

    def require(self, asset: str, partition: str | None = None) -> Artifact:
        """Returns the version that readers see, and refuses if there is none.

        Raises:
            ArtifactError: if there is none; names asset and partition.
        """
        artifact = self.current(asset, partition)
        if artifact is None:
            label = asset if partition is None else f"{asset}[{partition}]"
            raise ArtifactError(f"{label}: nothing there in {self.base}; materialize it first")
        return artifact

    def version(self, asset: str, artifact_id: str, partition: str | None = None) -> Artifact:
        """Returns one version by its id, current or not."""
        key = manifest_key(asset, partition, artifact_id)
        content = self._backend.read(key)
        if content is None:
            raise ArtifactError(f"{asset}: no version {artifact_id} in {self.base}")
        # Manifests are named by their hash, so one that was edited by hand is found out here, whatever it says.
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
        """Writes a small plain JSON value that no artifact depends on, such as the seconds that a step took."""
        self._backend.write(f"notes/{name}.json", json.dumps(value, sort_keys=True).encode())

    def noted(self, name: str) -> Any:
        """Returns what was noted last; None if nothing was."""
        content = self._backend.read(f"notes/{name}.json")
        try:
            return None if content is None else json.loads(content)
        except ValueError:
            return None  # damaged: nothing depends on it

    def open(self, artifact: Artifact) -> Path:
        """Returns a local folder with the artifact's files, verified.

        Raises:
            ArtifactError: if a file is missing or not what the manifest says.
        """
        key, names = object_key(artifact), [file.name for file in artifact.files]
        folder = self._backend.local_folder(key, names)
        if artifact.digest in self._verified:
            return folder
        try:
            _verify_all(folder, artifact)
        except ArtifactError:
            # In a bucket the damage may be in the cache alone: it is dropped and fetched again, once. In a folder there
            # is nothing else to read.
            if not self._backend.forget(key):
                self.forget(artifact.cache_key)
                raise
            self._verify_again(key, names, artifact)
        # Once in each process: hashing gigabytes at each read would cost more than most steps.
        self._verified.add(artifact.digest)
        return folder

    def file(self, artifact: Artifact, name: str) -> Path:
        """Returns the local path of one of the artifact's files, verified.

        Raises:
            ArtifactError: if the manifest names no such file, or as `open` does.
        """
        if not artifact.has(name):
            named = [file.name for file in artifact.files]
            where = f"{self.base}/{object_key(artifact)}"
            raise ArtifactError(f"{artifact.label}: expected a file {name} in {where}, found by its manifest: {named}")
        return self.open(artifact) / name

    def _verify_again(self, key: str, names: list[str], artifact: Artifact) -> None:
        try:
            _verify_all(self._backend.local_folder(key, names), artifact)
        except (ArtifactError, FileNotFoundError):
            self.forget(artifact.cache_key)  # else "materialize it again" would reuse what is damaged
            raise


def _verify_all(folder: Path, artifact: Artifact) -> None:
    # A link could lead to files that change after they were verified, or out of the store.
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
