"""Promise 1: the constructor only stores, and what a class declares can be understood; looks at no data."""

import inspect
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import yaml

from ml_platform.contract.application import takes_side_inputs
from ml_platform.contract.battery.report import Inapplicable, PromiseViolation, Undeclared
from ml_platform.contract.construction import BuildError, build, declare
from ml_platform.errors import DataError, expected_one_of, first_few
from ml_platform.schema import Schema
from ml_platform.versions.description import Undescribable, describe

ROWS = ("preserve", "filter", "aggregate")
_STORES = "assign each parameter to an attribute of its name and nothing else; work with it in fit or transform"


def constructor_only_stores(transformer: Any) -> None:
    """Every parameter is an attribute of its name, as it was given, and there is no other attribute."""
    kind = type(transformer)
    names = _parameters(kind)
    for name in names:
        others = {other: value for other, value in _current(transformer, names).items() if other != name}
        anything = _Anything()
        try:
            kept = getattr(kind(**others, **{name: anything}), name, None)
        except Exception as error:
            raise PromiseViolation(
                f"the constructor works with {name!r}: {type(error).__name__}: {error}", "", _STORES
            ) from error
        # By identity, as `clone` compares: a copy of an equal list would fail there.
        probes = [value for value in _PROBES if getattr(kind(**others, **{name: value}), name, None) is not value]
        if kept is not anything or probes:
            raise PromiseViolation(f"the constructor does not keep {name!r} as it was given", "", _STORES)
    # What a base class stores by a parameter of its own is its business.
    inherited = {name for parent in kind.__mro__[:-1] for name in inspect.signature(parent).parameters}
    more = sorted(set(vars(kind(**_current(transformer, names)))) - inherited)
    if more:
        raise PromiseViolation(f"the constructor sets {first_few(more)}, which no parameter is named", "", _STORES)


# What constructors like to convert: `columns or []`, `if columns is None`, `if isinstance(columns, str)`.
_PROBES: tuple[Any, ...] = (None, "a text", 0, 1.5, [], ["a list"], ())


class _Anything:
    """A value that nothing can be done with but to store it; `value or default` takes the default."""

    def __bool__(self) -> bool:
        return False


def _parameters(kind: type) -> list[str]:
    parameters = [one for name, one in inspect.signature(kind).parameters.items()]
    for one in parameters:
        if one.kind in (one.VAR_KEYWORD, one.VAR_POSITIONAL):
            raise PromiseViolation(
                f"the constructor takes any parameter ({one}), so that a wrong name is not refused", "", "name them all"
            )
    return [one.name for one in parameters]


def _current(transformer: Any, names: list[str]) -> dict[str, Any]:
    missing = [name for name in names if not hasattr(transformer, name)]
    if missing:
        raise PromiseViolation(f"the constructor does not keep {first_few(missing)}", "", _STORES)
    return {name: getattr(transformer, name) for name in names}


def copies_are_equal(transformer: Any) -> None:
    """`clone` and `get_params` give an equal object."""
    from sklearn.base import clone

    try:
        one, other = describe(transformer), describe(clone(transformer))
    except Undescribable as error:
        raise PromiseViolation(
            str(error), "", "take numbers, text, lists or objects with parameters, so that two can be told apart"
        ) from error
    except Exception as error:
        raise PromiseViolation(f"it cannot be copied: {type(error).__name__}: {error}", "", _STORES) from error
    if one != other:
        raise PromiseViolation("a copy has other parameters", f"{one}\n{other}", _STORES)


def yaml_gives_an_equal_object(transformer: Any) -> None:
    """Its declaration in YAML builds an equal object."""
    try:
        text = yaml.safe_dump(declare(transformer), sort_keys=False)
        parsed = yaml.safe_load(text)
        again = build(parsed["uses"], parsed.get("with", {}))
    except (BuildError, Undescribable, yaml.YAMLError) as error:
        # A class of a notebook is lifted into a module later, and checked again then.
        if type(transformer).__module__ == "__main__" or "<locals>" in type(transformer).__qualname__:
            raise Inapplicable("its class is in no module yet, so no YAML can name it") from error
        raise PromiseViolation(
            f"YAML cannot declare it: {error}", "", "take numbers, text, lists and nested uses"
        ) from error
    if _as_lists(describe(again)) != _as_lists(describe(transformer)):
        raise PromiseViolation("what its YAML builds is another object", f"{text}{describe(again)}", _STORES)


def _as_lists(description: Any) -> Any:
    """Returns a description with lists for tuples: YAML has no tuples."""
    if isinstance(description, list):
        return [_as_lists(item) for item in description]
    if not isinstance(description, dict):
        return description
    return _as_lists(description["tuple"]) if "tuple" in description else {
        key: _as_lists(item) for key, item in description.items()
    }  # fmt: skip


_WRONG = ("no such value", -12345.5, {"no": "such value"})


def wrong_values_are_refused(transformer: Any) -> None:
    """For every parameter there are values that are refused when definitions load."""
    try:
        parsed = declare(transformer)
        build(parsed["uses"], parsed.get("with", {}))
    except (BuildError, Undescribable) as error:
        raise Inapplicable("its class cannot be named") from error
    loose = [name for name in _parameters(type(transformer)) if not _refuses(parsed, name)]
    if loose:
        raise Undeclared(
            f"parameter {first_few([repr(name) for name in loose])} takes anything until data are there: annotate the "
            "constructor's parameters with types"
        )


def _refuses(parsed: dict[str, Any], name: str) -> bool:
    uses, given = parsed["uses"], parsed.get("with", {})
    # Where even the right values are refused without real schemas, asking for the answer's proves nothing.
    is_asked = not _is_refused(uses, given, is_asked=True)
    return any(_is_refused(uses, {**given, name: wrong}, is_asked=is_asked) for wrong in _WRONG)


def _is_refused(uses: str, given: dict[str, Any], *, is_asked: bool) -> bool:
    """Returns whether a declaration is refused before there are data.

    Args:
        is_asked: whether the columns that come out are asked for too.
    """
    anything = Schema(is_open=True)
    try:
        built = build(uses, given)
        if is_asked and hasattr(built, "output_schema"):
            side = {"other": anything} if takes_side_inputs(built) else {}
            built.output_schema(built.input_schema or anything, **side)
    except (BuildError, DataError):
        return True
    except Exception:  # noqa: BLE001  (an unprepared error is no refusal)
        return False
    return False


def invalid_declarations(transformer: Any) -> Iterator[tuple[str, str]]:
    """Lists declarations that cannot be understood: the promise that they are for, and what is wrong."""
    rows = getattr(transformer, "rows", "preserve")
    if rows not in ROWS:
        yield "rows", f"rows is {rows!r}: {expected_one_of(str(rows), ROWS)}"
    tests: list[tuple[str, str, Callable[[Any], bool], str]] = [
        ("row_wise", "row_wise", lambda value: isinstance(value, bool), "True or False"),
        ("partition_invariance", "lookback", _is_lookback, "a timedelta of 0 or more"),
        ("point_in_time", "as_of", lambda value: value is None or isinstance(value, str), "a column's name, or None"),
        ("schema", "input_schema", lambda value: value is None or isinstance(value, Schema), "a Schema, or None"),
        ("schema", "side_schema", lambda value: value is None or isinstance(value, Schema), "a Schema, or None"),
    ]
    for promise, name, is_valid, expected in tests:
        # scikit-learn's own kind declares none of these, and may use the names for something else.
        if not hasattr(transformer, "output_schema"):
            continue
        try:
            value = getattr(transformer, name)
        except Exception as error:  # noqa: BLE001  (the class's own)
            yield promise, f"{name} raises {type(error).__name__}: {error}"
            continue
        if not is_valid(value):
            yield promise, f"{name} is {value!r}: expected {expected}"


def _is_lookback(value: Any) -> bool:
    return isinstance(value, timedelta) and value >= timedelta(0)


def declaration_problems(transformer: Any) -> Iterator[str]:
    """Lists the problems of a transformer that need no data to be found, for the check of definitions."""
    try:
        constructor_only_stores(transformer)
    except PromiseViolation as broken:
        yield f"{type(transformer).__name__}: {broken}; {broken.advice}"
        return
    for _, problem in invalid_declarations(transformer):
        yield f"{type(transformer).__name__}: {problem}"


CHECKS = (constructor_only_stores, copies_are_equal, yaml_gives_an_equal_object, wrong_values_are_refused)
