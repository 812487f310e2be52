"""How does `uses` and `with` become an object?"""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from ml_platform.errors import PlatformError, expected_one_of
from ml_platform.pipeline.document import Place


class BuildError(PlatformError):
    """A class or parameter that cannot be used, with its place below the `uses`."""

    def __init__(self, place: Place, message: str):
        self.place = place
        super().__init__(message)


def resolve(path: str) -> Any:
    """Imports what a dotted path names.

    Raises:
        BuildError: no such module or attribute.
    """
    module_name, _, name = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:
        raise BuildError(("uses",), f"no module {module_name!r} to take {path!r} from ({error})") from error
    if not hasattr(module, name):
        public = [known for known, value in vars(module).items() if known[0] != "_" and not inspect.ismodule(value)]
        raise BuildError(("uses",), f"no {name!r} in {module_name!r}: {expected_one_of(name, public)}")
    return getattr(module, name)


def build(uses: str, parameters: Mapping[str, Any]) -> Any:
    """Builds the object that a step or model names: a class is called, a function is passed as it is.

    Raises:
        BuildError: a class, parameter or value that it does not have.
    """
    target = resolve(uses)
    if not inspect.isclass(target):
        return target
    accepted = inspect.signature(target).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values())
    for name in parameters:
        if name not in accepted and not takes_any:
            hint = expected_one_of(name, accepted)
            raise BuildError(("with", name), f"{target.__name__} has no parameter {name!r}: {hint}")
    built = {name: _build_value(value, ("with", name)) for name, value in parameters.items()}
    try:
        instance = target(**built)
    except (TypeError, ValueError) as error:
        raise BuildError(("with",), f"{target.__name__} cannot be built: {error}") from error
    _check_values(instance)
    return instance


def _build_value(value: Any, place: Place) -> Any:
    """Builds nested uses; lists stay lists, but a pair that names a scikit-learn part becomes a tuple."""
    if isinstance(value, dict):
        if "uses" in value:
            return _build_nested(value, place)
        return {key: _build_value(item, (*place, key)) for key, item in value.items()}
    if isinstance(value, list):
        items = [_build_value(item, (*place, index)) for index, item in enumerate(value)]
        return tuple(items) if any(hasattr(item, "fit") for item in items) else items
    return value


def _build_nested(value: Mapping[str, Any], place: Place) -> Any:
    unknown = [key for key in value if key not in ("uses", "with")]
    if unknown:
        hint = expected_one_of(unknown[0], ("uses", "with"))
        raise BuildError((*place, unknown[0]), f"unknown key {unknown[0]!r} beside 'uses': {hint}")
    try:
        return build(value["uses"], value.get("with", {}))
    except BuildError as error:
        raise BuildError((*place, *error.place), str(error)) from error


def _check_values(instance: Any) -> None:
    """Lets scikit-learn compare parameters with its own constraints, which it does else at fit."""
    from sklearn.utils._param_validation import InvalidParameterError

    if not hasattr(instance, "_parameter_constraints"):
        return
    try:
        instance._validate_params()
    except InvalidParameterError as error:
        named = [name for name in instance.get_params(deep=False) if f"'{name}'" in str(error)]
        raise BuildError(("with", *named[:1]), str(error)) from error
