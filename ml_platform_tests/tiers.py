"""How much of the tests each tier runs, in one place.

`make test` runs the quick tier, which is what carries no mark; `make test-all` what is marked `full` after it;
`make soak` what is marked `soak` after that, which is all there is. Whole modules and tests that are too long for a
tier carry their mark themselves.
"""

import subprocess
import sys
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import pytest

FULL, SOAK = pytest.mark.full, pytest.mark.soak
ALL = sys.maxsize


class Takes(NamedTuple):
    """How many cases of a list a tier takes: those of the quick one are among those of the full one; the rest is for `make soak`."""

    quick: int
    full: int = ALL


# By list: how many of its cases the quick tier takes, and how many the full one takes with them.
CASES = {
    "drafted pipelines": Takes(1),
    # pipelines and steps
    "refusals of YAML": Takes(12),
    "refusals of YAML, through the child": Takes(1),
    "changed parameters": Takes(1),
    "steps of pipelines and their promises": Takes(1),
    "steps for everyone and their promises": Takes(3),
    # the battery
    "broken transformers": Takes(6),
    "broken transformers and all promises": Takes(0, 5),
    "sound transformers": Takes(1),
    "mutants of checks": Takes(3, 16),
    # launchers: each case is a run on a platform of its own, some seconds
    "faults": Takes(2),
    "faults of relayed steps": Takes(1, 6),
    "kills": Takes(3, 44),
    "kills of the relay": Takes(1),
    "outages": Takes(1, 16),
    "outages of an event": Takes(1),
    "events whose answer is lost": Takes(1),
    "steps that escalate": Takes(1),
    "mutants of fences": Takes(1, 10),
    # strangers
    "hostile tag sets, through the platform": Takes(60, 1_000),
    "vulnerabilities": Takes(1),
}

# How many examples a test draws, or how often it does something, by tier; 0 where the tier leaves it out.
COUNTS = {
    "orders of things": (6, 30, 1_200),
    "runs that are launched twice at a time": (0, 8, 20),
}

# The modules that take longest, in the order in which they begin: what is begun last keeps one worker waiting.
LONGEST = (
    "deploy/test_local.py", "test_wheel.py", "ui/test_ui.py", "launchers/test_kills.py", "launchers/test_faults.py",
    "launchers/test_pipelines.py", "contract/battery/test_runner.py", "cli/test_parity.py", "cli/test_kills.py",
    "test_conventions.py", "launchers/test_outages.py", "launchers/test_machine.py", "runtime/test_plan.py",
)  # fmt: skip


def cases(
    of: str, them: Iterable[Any], kind: Callable[[Any], Hashable] = lambda _: None,
    is_telling: Callable[[Any], bool] = lambda _: True, is_needed: Callable[[Any], bool] = lambda _: False,
) -> list[Any]:  # fmt: skip
    """Marks each case with the tier that takes it first; a tuple is one of several arguments.

    Args:
        kind: a tier takes the first of each kind, then the second of each, and so on.
        is_telling: those of which this is true are taken before the others.
        is_needed: those of which this is true are in the full tier at least.
    """
    them, takes = list(them), CASES[of]
    telling, others = ([place for place, one in enumerate(them) if is_telling(one) is so] for so in (True, False))
    order = [*in_turn(telling, lambda place: kind(them[place])), *in_turn(others, lambda place: kind(them[place]))]
    ranks = {place: rank for rank, place in enumerate(order)}
    ranks |= {place: min(rank, takes.full - 1) for place, rank in ranks.items() if is_needed(them[place])}
    return [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=_marks(ranks[place], takes))
        for place, case in enumerate(them)
    ]


@cache
def changed_files() -> frozenset[str]:
    """Lists the files in which the checkout differs from the commit before its newest; none where git does not know."""
    command = ["git", "diff", "--name-only", "HEAD~1"]
    told = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return frozenset(told.stdout.split())


def counts(of: str) -> list[Any]:
    """Returns how many examples a test that draws them tries in each tier, as a parameter of the test."""
    return [
        pytest.param(count, marks=marks) for count, marks in zip(COUNTS[of], ((), FULL, SOAK), strict=True) if count
    ]


def parts(of: str, count: int, most: int) -> list[Any]:
    """Cuts the numbers up to a count into ranges of so many at most, each of which belongs to one tier."""
    takes, found, start = CASES[of], list[Any](), 0
    while start < count:
        border = next(end for end in (takes.quick, takes.full, count) if end > start)
        stop = min(start + most, border, count)
        found.append(pytest.param(range(start, stop), marks=_marks(start, takes)))
        start = stop
    return found


def in_turn(them: Iterable[Any], kind: Callable[[Any], Hashable]) -> list[Any]:
    """Orders so that the first of each kind come first, then the second of each, and so on."""
    by_kind: dict[Hashable, list[Any]] = {}
    for one in them:
        by_kind.setdefault(kind(one), []).append(one)
    nothing = object()
    return [one for row in zip_longest(*by_kind.values(), fillvalue=nothing) for one in row if one is not nothing]


def _marks(rank: int, takes: Takes) -> Sequence[pytest.MarkDecorator]:
    return () if rank < takes.quick else (FULL,) if rank < takes.full else (SOAK,)


def chosen(request: pytest.FixtureRequest, argument: str) -> list[Any]:
    """Lists the values of an argument with which this module's tests were chosen to run: what a fixture must prepare."""
    here = [item for item in request.session.items if getattr(item, "module", None) is request.module]
    given = [item.callspec.params for item in here if hasattr(item, "callspec")]
    return list({id(params[argument]): params[argument] for params in given if argument in params}.values())


def place_of(module: str) -> int:
    """Says when the tests of a module begin, among all."""
    return next(
        (place for place, end in enumerate(LONGEST) if module.endswith(f"ml_platform_tests/{end}")), len(LONGEST)
    )
