"""What is an object, in plain JSON values: its class and its parameters, those of its parts included?"""

import hashlib
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any

from ml_platform.errors import PlatformError


class Undescribable(PlatformError):
    """A parameter that has no plain value, so that nobody can tell two of them apart."""


def describe(value: Any) -> Any:
    """Says what a parameter's value is; objects that are built alike are described alike.

    Raises:
        Undescribable: a lambda, an open file, a frame, ...
    """
    if isinstance(value, float):
        return value if value - value == 0 else {"float": repr(value)}
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): describe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    return _describe_object(value)


def _describe_object(value: Any) -> Any:
    if isinstance(value, type):
        return {"name": _path(value)}
    if hasattr(value, "get_params"):
        parameters = {name: describe(item) for name, item in value.get_params(deep=False).items()}
        return {"class": _path(type(value)), "parameters": parameters}
    if isinstance(value, date | timedelta):
        return {type(value).__name__: str(value)}
    return _describe_array(value) if hasattr(value, "__array__") else {"name": _path(value)}


def _describe_array(value: Any) -> Any:
    import numpy as np

    array = np.asarray(value)
    if array.dtype.hasobject:
        raise Undescribable(f"an array of objects has no plain value: {value!r:.80}")
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return {"array": digest, "dtype": str(array.dtype), "shape": list(array.shape)}


def _path(value: Any) -> str:
    """Gives the dotted path of a class or function that can be imported by it."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", getattr(value, "__name__", None))
    if not isinstance(name, str) or "<" in name:
        raise Undescribable(f"{value!r:.80} has no name to tell it by; give it one in a module")
    return f"{module}.{name}" if module else f"{type(value).__module__}.{name}"


def paths_in(description: Any) -> Iterator[str]:
    """Lists the classes and functions that a description names."""
    if isinstance(description, Mapping):
        for key in ("class", "name"):
            if isinstance(description.get(key), str) and set(description) <= {"class", "parameters", "name"}:
                yield description[key]
        for item in description.values():
            yield from paths_in(item)
    if isinstance(description, list):
        for item in description:
            yield from paths_in(item)
