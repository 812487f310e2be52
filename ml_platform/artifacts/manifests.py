"""Validates the JSON of manifests, and the names in paths, as untrusted input."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from ml_platform.errors import ArtifactError

MOST_BYTES = 16 * 2**20  # of a manifest, a cache key, a head or a note; ours have some thousand
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE_NAME = re.compile(r"(?!\.)[^/\\\x00-\x1f\x7f]{1,200}")  # one file in the value's own folder
_LONGEST = 200  # a file system takes names of 255 bytes, and writing needs some for its own


def parsed(content: bytes, source: str) -> dict[str, Any]:
    """Parses a manifest and checks the type of each value.

    Raises:
        ArtifactError: with what was expected where; `source` names the manifest.
    """
    if len(content) > MOST_BYTES:
        raise ArtifactError(f"{source}: not a manifest: expected {MOST_BYTES:,} bytes at most, found more")
    try:
        # Python reads NaN and Infinity, which are no JSON; written back they would change the canonical bytes.
        data = json.loads(content, parse_constant=_refuse_constant)
        _require_types(data)
    # A few kilobytes of brackets are enough to exhaust the parser's stack.
    except (ValueError, RecursionError) as error:
        told = f"expected what a store writes, found: {error}"
        raise ArtifactError(f"{source}: not a manifest ({told}); materialize the asset again") from error
    return dict(data)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"expected numbers that are finite, found {name}")


def _is_count(value: Any) -> bool:
    # `isinstance` would take true and false, which are integers in Python.
    return type(value) is int and value >= 0


def _is_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


_FILE: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "name": ("the name of a file in one folder", lambda v: isinstance(v, str) and bool(_FILE_NAME.fullmatch(v))),
    "sha256": ("64 hexadecimal digits", lambda v: isinstance(v, str) and bool(_SHA256.fullmatch(v))),
    "size_bytes": ("a whole number from 0", _is_count),
}
_MANIFEST: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "asset": ("a string", lambda v: isinstance(v, str)),
    "partition": ("a string or null", lambda v: v is None or isinstance(v, str)),
    "kind": ("a string", lambda v: isinstance(v, str)),
    "files": ("a list", lambda v: isinstance(v, list)),
    "facts": ("an object", lambda v: isinstance(v, dict)),
    "inputs": ("an object of strings", _is_texts),
    "recipe": ("an object", lambda v: isinstance(v, dict)),
    "lineage": ("an object", lambda v: isinstance(v, dict)),
}
_NEEDED = {"asset", "partition", "kind", "files"}


def _require_types(data: Any) -> None:
    _require("the manifest", data, _MANIFEST, _NEEDED)
    for file in data["files"]:
        _require("a file", file, _FILE, set(_FILE))
    # One name twice would let a reader verify one file and open the other.
    names = [file["name"] for file in data["files"]]
    if len(set(names)) < len(names):
        raise ValueError(f"expected each file once, found {names!r:.200}")


def _require(what: str, data: Any, fields: Mapping[str, Any], needed: set[str]) -> None:
    if not isinstance(data, dict) or not needed <= data.keys() <= fields.keys():
        found = sorted(data) if isinstance(data, dict) else data
        raise ValueError(f"expected {what} to have {', '.join(fields)}, found {found!r:.200}")
    for name, value in data.items():
        expected, holds = fields[name]
        if not holds(value):
            raise ValueError(f"expected {name} of {what} to be {expected}, found {value!r:.200}")


def checked_name(name: str) -> str:
    """Returns an asset's name, which becomes folders, and refuses one that would lead elsewhere.

    Raises:
        ArtifactError: a name that climbs, is absolute, or is none.
    """
    parts = name.split("/")
    if any(not _FILE_NAME.fullmatch(part) or len(part.encode()) > _LONGEST for part in parts):
        raise ArtifactError(
            f"{name!r:.300}: not the name of an asset: expected words between slashes, none of them empty, longer than "
            f"{_LONGEST} bytes or with a dot in front, and no control characters or backslashes"
        )
    return name


def checked_key(quoted: str, key: str) -> str:
    """Returns a quoted partition or branch name, and refuses one that no file can have.

    Raises:
        ArtifactError: a name that is empty or too long.
    """
    if not 0 < len(quoted) <= _LONGEST:
        raise ArtifactError(
            f"{key!r:.300}: not a name of a partition or a branch: expected 1 to {_LONGEST} bytes, found {len(quoted)}"
        )
    return quoted


def checked_id(artifact_id: str, what: str) -> str:
    """Returns the id of a manifest, and refuses what is none.

    Raises:
        ArtifactError: if it is none.
    """
    if not re.fullmatch("[0-9a-f]{1,64}", artifact_id):
        raise ArtifactError(f"{what}: not a version: expected up to 64 hexadecimal digits, found {artifact_id!r:.100}")
    return artifact_id
