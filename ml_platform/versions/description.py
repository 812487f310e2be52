"""Describes an object as plain JSON values, its class and parameters, so that equal objects hash equally."""

import hashlib
import sys
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any

from ml_platform.errors import PlatformError


class Undescribable(PlatformError):
    """A value without a description, so that two of them cannot be compared: a lambda, an open file, a frame."""


def describe(value: Any) -> Any:
    """Returns a value as plain JSON values; objects that are built alike have equal descriptions.

    Raises:
        Undescribable: a lambda, an open file, a frame, ...
    """
    if isinstance(value, float):
        # Infinities and NaN are no JSON; 1.0 and 1 stay apart, as JSON writes them differently.
        return value if value - value == 0 else {"float": repr(value)}
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        # Pairs in their order: the order of keys may decide what a step does, and keys need not be texts.
        return {"mapping": [[describe(key), describe(item)] for key, item in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [describe(item) for item in value]}
    if isinstance(value, list):
        return [describe(item) for item in value]
    return _describe_object(value)


def _describe_object(value: Any) -> Any:
    if isinstance(value, type):
        return {"name": _path(value)}
    if hasattr(value, "get_params"):
        return _describe_estimator(value)
    if type(value) in (date, datetime, timedelta):
        return {type(value).__name__: str(value)}
    # Frames and masked arrays pass for arrays below and would lose their index, types or mask.
    if hasattr(value, "iloc") or hasattr(value, "mask"):
        raise Undescribable(f"a {type(value).__name__} has no plain value; give its path or its parts")
    return _describe_array(value) if hasattr(value, "__array__") else {"name": _path(value)}


def _describe_estimator(value: Any) -> Any:
    from sklearn.base import BaseEstimator

    kind = type(value)
    # FrozenEstimator and its like: parameters alone do not say what such a part has learnt.
    if getattr(kind, "__sklearn_clone__", None) not in (None, BaseEstimator.__sklearn_clone__):
        raise Undescribable(f"a {kind.__name__} keeps what it learnt when it is copied, which has no plain value")
    parameters = {name: describe(item) for name, item in value.get_params(deep=False).items()}
    # `set_output` is no parameter and changes what comes out.
    output = vars(value).get("_sklearn_output_config")
    return {"class": _path(kind), "parameters": parameters} | ({"output": describe(output)} if output else {})


def _describe_array(value: Any) -> Any:
    import numpy as np

    array = np.asarray(value)
    # The bytes of such an array are addresses.
    if array.dtype.hasobject:
        raise Undescribable(f"an array of objects has no plain value: {value!r:.80}")
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return {"array": digest, "dtype": str(array.dtype), "shape": list(array.shape)}


def _path(value: Any) -> str:
    """Returns the dotted path by which a class or function can be imported again."""
    module = getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", getattr(value, "__name__", None))
    if not isinstance(name, str) or not isinstance(module, str) or "<" in name:
        raise Undescribable(f"{value!r:.80} has no name to tell it by; give it one in a module")
    # A notebook defines a class again under the same name; the old one's objects would pass for the new one's.
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not value:
        raise Undescribable(
            f"{module}.{name} is not (or no longer) {value!r:.80}, so its name does not tell it; if it was defined "
            "again, make the object again too"
        )
    return f"{module}.{name}"


def paths_in(description: Any) -> Iterator[str]:
    """Lists the classes and functions that a description names."""
    if isinstance(description, Mapping):
        for key in ("class", "name"):
            if isinstance(description.get(key), str):
                yield description[key]
        for item in description.values():
            yield from paths_in(item)
    if isinstance(description, list):
        for item in description:
            yield from paths_in(item)
