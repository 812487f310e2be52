"""Stores fitted torch networks as safetensors and JSON, without pickle, and reads them without trusting the files."""

import hashlib
import importlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ml_platform.artifacts.limits import refuse_unpacked
from ml_platform.errors import ArtifactError, first_few

WEIGHTS = "network.safetensors"
STATE = "network.json"
_FORMAT = 1
_KEYS = {"format", "class", "state", "weights_sha256"}


def is_network(estimator: Any) -> bool:
    """Whether an estimator has `to_state` and `from_state`: weights and plain values."""
    return hasattr(estimator, "to_state") and hasattr(type(estimator), "from_state")


def write_network(folder: Path, estimator: Any, trusted: Collection[str] | None = None) -> None:
    """Stores a fitted network as `network.safetensors` and `network.json`; equal networks give equal bytes.

    Args:
        trusted: dotted names of the classes that may be read again; None: do not ask.

    Raises:
        ArtifactError: a class that could not be read again, or state that is no plain JSON value.
    """
    import numpy as np
    from safetensors.numpy import save  # torch is the network's own matter: whoever stores anything would import it

    kind = type(estimator)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if "." in kind.__qualname__:
        raise ArtifactError(f"{name} cannot be stored: it cannot be imported again; define it at its module's top")
    if trusted is not None:
        _refuse_untrusted(name, trusted, kind.__name__)
    tensors, state = estimator.to_state()
    # safetensors writes a view as the memory behind it, strides ignored: a transposed tensor would come back scrambled.
    weights = save({key: np.ascontiguousarray(value) for key, value in tensors.items()})
    known = {"format": _FORMAT, "class": name, "state": state, "weights_sha256": hashlib.sha256(weights).hexdigest()}
    try:
        # A digest of the description itself, as its manifest verifies files only when they come from a store.
        document = known | {"sha256": _digest(known)}
        text = json.dumps(document, sort_keys=True, allow_nan=False, indent=1)
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"{kind.__name__} cannot be stored: its state is not plain JSON ({error})") from error
    (folder / WEIGHTS).write_bytes(weights)
    (folder / STATE).write_text(text + "\n", encoding="utf-8")


def read_network(folder: Path, trusted: Collection[str], label: str) -> Any:
    """Loads a network of a trusted class.

    Args:
        trusted: dotted names of classes, from code and never from a file; no other is imported.
        label: which value this is, for messages.

    Raises:
        ArtifactError: a class that is not trusted, files that are damaged, weights that do not fit.
    """
    known = _read_state(folder, label)
    # Before the weights are read and long before anything is imported: importing runs code that the file would have
    # chosen.
    _refuse_untrusted(known["class"], trusted, label)
    tensors = _read_weights(folder, known["weights_sha256"], label)
    try:
        return _import(known["class"]).from_state(tensors, known["state"])
    except ArtifactError as error:
        raise ArtifactError(f"{label}: {error}") from error
    except Exception as error:  # whatever a class makes of values that are not its own
        raise ArtifactError(f"{label}: {known['class']} refuses its state: {error!r}") from error


def refuse_nested(estimator: Any, parts: Collection[type]) -> None:
    """Refuses an estimator that a network is a part of, which no format here can keep.

    Args:
        parts: the classes that the estimator is made of.
    """
    nested = sorted(part.__name__ for part in parts if hasattr(part, "to_state") and hasattr(part, "from_state"))
    if nested:
        raise ArtifactError(
            f"{type(estimator).__name__} cannot be stored: it holds the network {first_few(nested)}; make the network "
            "the model itself: it prepares its inputs by itself, and what comes before can be a step"
        )


def _read_state(folder: Path, label: str) -> dict[str, Any]:
    try:
        text = (folder / STATE).read_text(encoding="utf-8")
        document = json.loads(text)
        # `{"dtype": "<U1000000"}` in a few bytes asks numpy for gigabytes.
        refuse_unpacked(_array_bytes(document), len(text), f"{label}: {STATE}")
        digest = document.pop("sha256")
        # Keys are compared exactly: what an older or newer release adds would be ignored silently otherwise.
        whole = digest == _digest(document) and document.keys() == _KEYS and document["format"] == _FORMAT
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArtifactError(f"{label}: {STATE} is not the description of a network ({error!r})") from error
    if not whole:
        raise ArtifactError(f"{label}: {STATE} was changed after it was written, or by another release; fit again")
    return dict(document)


def _array_bytes(value: Any) -> int:
    """Returns how many bytes the arrays in a state take at most, by the type and the items that it states."""
    import numpy as np

    if isinstance(value, list):
        return sum(map(_array_bytes, value))
    if not isinstance(value, dict):
        return 0
    if value.keys() != {"dtype", "values"}:
        return sum(map(_array_bytes, value.values()))
    return int(np.dtype(value["dtype"]).itemsize) * (str(value["values"]).count(",") + 1)


def _read_weights(folder: Path, sha256: str, label: str) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        content = (folder / WEIGHTS).read_bytes()
        # Weights belong to this description: those of another training would load, and answer differently.
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ArtifactError(f"{label}: {WEIGHTS} is damaged or was changed after it was written; fit again")
        return dict(load(content))
    except (OSError, SafetensorError) as error:
        raise ArtifactError(f"{label}: {WEIGHTS} cannot be read ({error})") from error


def _refuse_untrusted(name: Any, trusted: Collection[str], label: str) -> None:
    if not isinstance(name, str) or name not in trusted:
        told = first_few(sorted(trusted)) or "none"
        raise ArtifactError(f"{label}: made by {name!r}, a class that code does not name; it names: {told}")


def _import(name: str) -> Any:
    module, _, kind = name.rpartition(".")
    return getattr(importlib.import_module(module), kind)


def _digest(document: Mapping[str, Any]) -> str:
    content = json.dumps(document, sort_keys=True, allow_nan=False)
    return hashlib.sha256(content.encode()).hexdigest()
