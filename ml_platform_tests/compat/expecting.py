"""How a test says what is expected of a name of another library."""

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any


class Expected:
    """What is expected of each name that a door has.

    Args:
        door: a module of `ml_platform.compat`.
    """

    def __init__(self, door: ModuleType):
        self.door = door
        self.of: dict[str, Callable[[], None]] = {}

    def __call__(self, *names: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
        """Says that a function asserts what is expected of these names."""

        def note(check: Callable[[], None]) -> Callable[[], None]:
            assert not set(names) & set(self.of), names
            self.of |= dict.fromkeys(names, check)
            return check

        return note

    def is_complete(self) -> None:
        """Asserts that something is expected of every name, and that each door's list is in order."""
        assert set(self.of) == set(self.door.__all__)
        assert len(set(self.door.__all__)) == len(self.door.__all__)


def takes(call: Callable[..., Any], *positional: str, named: str = "") -> None:
    """Asserts that something can be called with these parameters in this order, and with others by their names."""
    signature = inspect.signature(call)
    given = [name for name in signature.parameters if name != "self"]
    assert given[: len(positional)] == list(positional), f"{call}: {given}"
    if "self" in signature.parameters:
        signature.bind(None, *positional, **dict.fromkeys(named.split()))
    else:
        signature.bind(*positional, **dict.fromkeys(named.split()))


def has(owner: Any, names: str) -> None:
    """Asserts that there are these attributes."""
    missing = [name for name in names.split() if not hasattr(owner, name)]
    assert not missing, f"{owner}: {missing}"


def overrides(ours: type, theirs: type, names: str) -> None:
    """Asserts that what a class of ours overrides is there, of the same sort, and called as ours can be."""
    for name in names.split():
        assert name in vars(ours), f"{ours.__name__} overrides no {name}"
        own, found = inspect.getattr_static(ours, name), inspect.getattr_static(theirs, name)
        assert _is_read(own) == _is_read(found), name
        if not _is_read(found):
            assert _parameters(getattr(ours, name)) == _parameters(getattr(theirs, name)), f"{theirs.__name__}.{name}"


def _parameters(call: Callable[..., Any]) -> list[str]:
    """Lists what a method can be given; whatever takes all others may have any name."""
    of_all = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    return [of_all.get(one.kind, one.name) for one in inspect.signature(call).parameters.values()]


def _is_read(member: Any) -> bool:
    """Whether it is read like an attribute."""
    return not callable(member) and not isinstance(member, classmethod | staticmethod)


def uses(call: Callable[..., Any], names: str) -> None:
    """Asserts that a method of theirs reads or calls what ours puts in its place."""
    code = inspect.unwrap(call).__code__
    missing = [name for name in names.split() if name not in code.co_names]
    assert not missing, f"{call.__qualname__} no longer uses {missing}"


def are_all(found: Any, kind: type, names: str) -> None:
    """Asserts that there are members of an enumeration of these names, among any others."""
    assert all(isinstance(one, kind) for one in found)
    assert set(names.split()) <= {one.name for one in found}
