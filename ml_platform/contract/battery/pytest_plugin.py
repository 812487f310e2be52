"""Turns the battery into pytest tests: one for each promise of each transformer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ml_platform.contract.battery.report import PROMISES, Report
from ml_platform.contract.battery.runner import check_transformer


@dataclass(frozen=True)
class Case:
    """A transformer with what it is tried on; as `check_transformer` takes it.

    Attributes:
        name: what the tests are called; by default the class's name.
    """

    transformer: Any
    examples: Any = None
    y: Any = None
    side: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    @cached_property
    def report(self) -> Report:
        """The battery's report, which is made once for all promises."""
        return check_transformer(self.transformer, self.examples, self.y, **self.side)


@dataclass(frozen=True)
class _Promise:
    case: Case
    promise: str
    strict: bool

    def __call__(self) -> None:
        """Refuses the promise if it is broken."""
        self.case.report.require(self.promise, strict=self.strict)


def parametrize_with_promises(*cases: Any, strict: bool = False) -> Callable[[Any], Any]:
    """Makes a test for each promise of each transformer; the test calls its parameter, `promise`.

    Args:
        *cases: transformers, or a `Case` where there are examples to try one on.
        strict: whether a promise that is not declared fails too.

    Examples:
        >>> from ml_platform.transformers import Calendar
        >>> @parametrize_with_promises(Calendar("at"))
        ... def test_my_transformers(promise):
        ...     promise()
    """
    import pytest

    parameters = []
    for given in cases:
        case = given if isinstance(given, Case) else Case(given)
        name = case.name or type(case.transformer).__name__
        parameters += [pytest.param(_Promise(case, promise, strict), id=f"{name}-{promise}") for promise in PROMISES]
    return pytest.mark.parametrize("promise", parameters)
