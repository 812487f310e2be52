"""Builds objects from `uses` and `with`, as YAML gives them, and declares objects in the same form."""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from ml_platform.errors import Place, PlatformError, expected_one_of


class BuildError(PlatformError):
    """A class or parameter that cannot be used, with its place below the `uses`."""

    def __init__(self, place: Place, message: str):
        self.place = place
        super().__init__(message)


def resolve(path: str) -> Any:
    """Returns what a dotted path names, imported.

    Raises:
        BuildError: no such module or attribute.
    """
    module_name, _, name = path.rpartition(".")
    if not module_name:
        raise BuildError(("uses",), f"{path!r} is no dotted path; expected a module and a name in it: module.{path}")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        # The module is there and fails to import something else: its own message says more than "no module" would.
        if not module_name.startswith(str(error.name)):
            raise BuildError(("uses",), f"module {module_name!r} cannot be imported: {error}") from error
        raise BuildError(("uses",), f"no module {module_name!r} to take {path!r} from ({error})") from error
    except ValueError as error:
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
    # Names are checked before the call, as a TypeError of a class names one of several wrong parameters at best.
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values())
    for name in parameters:
        if name not in accepted and not takes_any:
            hint = expected_one_of(name, accepted)
            raise BuildError(("with", name), f"{target.__name__} has no parameter {name!r}: {hint}")
    hints = _annotations(target)
    built = {
        name: _as_tuple(_build_value(value, ("with", name)), accepted.get(name), hints.get(name))
        for name, value in parameters.items()
    }
    # Before the constructor: it only stores, so a wrong type would surface at the first fit, hours later.
    _check_types(target, built, hints)
    try:
        instance = target(**built)
    except (TypeError, ValueError) as error:
        raise BuildError(("with",), f"{target.__name__} cannot be built: {error}") from error
    _check_values(instance)
    return instance


def declare(built: Any) -> dict[str, Any]:
    """Returns the `uses` and `with` that an object is built from; parameters at their defaults are left out.

    Raises:
        BuildError: a parameter that YAML has no words for.
    """
    from ml_platform.versions.description import Undescribable, describe, paths_in

    defaults = {name: one.default for name, one in inspect.signature(type(built)).parameters.items()}
    given = {}
    for name, value in built.get_params(deep=False).items():
        try:
            # Compared by description: arrays and estimators have no plain ==.
            if name not in defaults or describe(value) != describe(defaults[name]):
                given[name] = _declare_value(value, ("with", name))
        except Undescribable as error:
            raise BuildError(("with", name), f"parameter {name!r}: {error}") from error
    path = next(paths_in(describe(type(built))))
    return {"uses": path, **({"with": given} if given else {})}


def _declare_value(value: Any, place: Place) -> Any:
    from ml_platform.versions.description import describe

    if hasattr(value, "get_params") and not isinstance(value, type):
        return declare(value)
    if isinstance(value, list | tuple):
        return [_declare_value(item, place) for item in value]
    if isinstance(value, Mapping):
        return {key: _declare_value(item, place) for key, item in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    described = describe(value)
    if isinstance(described, dict) and set(described) == {"name"} and not isinstance(value, type):
        return {"uses": described["name"]}  # a function
    raise BuildError(
        place, f"YAML has no words for {value!r:.80} ({type(value).__name__}); take numbers, text or lists"
    )


def _annotations(target: Any) -> dict[str, Any]:
    """Returns the types that a constructor declares; none where they cannot be evaluated."""
    try:
        return get_type_hints(target.__init__)
    except (NameError, TypeError, AttributeError):
        return {}


def _as_tuple(value: Any, parameter: inspect.Parameter | None, hint: Any) -> Any:
    """Turns a list into a tuple where the constructor declares one, or has one as its default."""
    by_default = hint is None and parameter is not None and isinstance(parameter.default, tuple)
    # YAML has no tuples. scikit-learn compares some parameters with tuples, so a list would be refused there.
    is_tuple = get_origin(hint) is tuple or by_default
    return tuple(value) if is_tuple and isinstance(value, list) else value


def _check_types(target: Any, built: Mapping[str, Any], hints: Mapping[str, Any]) -> None:
    """Compares parameters with the types that the constructor declares."""
    for name, value in built.items():
        if name not in hints:
            continue
        try:
            # Strict, as pydantic would otherwise take "3" for 3, and hand over a check that passed with a value that
            # did not.
            adapter = TypeAdapter(hints[name], config=ConfigDict(arbitrary_types_allowed=True))
        # Raised for hints of classes that pydantic cannot build a schema for; they are left to the class itself.
        except PydanticUserError:
            continue  # a type that brings its own rules for validation
        try:
            adapter.validate_python(value, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            where = "".join(f"[{part!r}]" for part in first["loc"] if isinstance(part, int))
            raise BuildError(
                ("with", name),
                f"{target.__name__}: parameter {name!r}{where}: {first['msg']}, found {first['input']!r:.80}",
            ) from error


def _build_value(value: Any, place: Place) -> Any:
    """Builds nested uses; lists stay lists, but a pair that names a scikit-learn part becomes a tuple."""
    if isinstance(value, dict):
        if "uses" in value:
            return _build_nested(value, place)
        return {key: _build_value(item, (*place, key)) for key, item in value.items()}
    if isinstance(value, list):
        items = [_build_value(item, (*place, index)) for index, item in enumerate(value)]
        # scikit-learn refuses a list for the pair (name, estimator) in Pipeline and ColumnTransformer.
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
    from ml_platform.compat.sklearn import InvalidParameterError, validate_parameters

    try:
        validate_parameters(instance)
    except InvalidParameterError as error:
        named = [name for name in instance.get_params(deep=False) if f"'{name}'" in str(error)]
        raise BuildError(("with", *named[:1]), str(error)) from error
