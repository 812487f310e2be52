"""What is an object, in plain JSON values: its class and its parameters, those of its parts included?"""

import hashlib
import sys
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
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
    if hasattr(value, "iloc") or hasattr(value, "mask"):
        raise Undescribable(f"a {type(value).__name__} has no plain value; give its path or its parts")
    return _describe_array(value) if hasattr(value, "__array__") else {"name": _path(value)}


def _describe_estimator(value: Any) -> Any:
    from sklearn.base import BaseEstimator

    kind = type(value)
    if getattr(kind, "__sklearn_clone__", None) not in (None, BaseEstimator.__sklearn_clone__):
        raise Undescribable(f"a {kind.__name__} keeps what it learnt when it is copied, which has no plain value")
    parameters = {name: describe(item) for name, item in value.get_params(deep=False).items()}
    output = vars(value).get("_sklearn_output_config")
    return {"class": _path(kind), "parameters": parameters} | ({"output": describe(output)} if output else {})


def _describe_array(value: Any) -> Any:
    import numpy as np

    array = np.asarray(value)
    if array.dtype.hasobject:
        raise Undescribable(f"an array of objects has no plain value: {value!r:.80}")
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return {"array": digest, "dtype": str(array.dtype), "shape": list(array.shape)}


def _path(value: Any) -> str:
    """Gives the dotted path of a class or function by which it can be had again."""
    module = getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", getattr(value, "__name__", None))
    if not isinstance(name, str) or not isinstance(module, str) or "<" in name:
        raise Undescribable(f"{value!r:.80} has no name to tell it by; give it one in a module")
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
