"""Draws frames for properties with Hypothesis, and finds the smallest one that breaks a property."""

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from ml_platform.contract.battery.report import Inapplicable, PromiseViolation
from ml_platform.contract.battery.subject import Subject
from ml_platform.extras import needing
from ml_platform.schema import Column

with needing("hypothesis"):
    from hypothesis import HealthCheck, Phase, Verbosity, given, settings
    from hypothesis import strategies as st
    from hypothesis.configuration import set_hypothesis_home_dir
    from hypothesis.errors import Flaky, Unsatisfiable

EXAMPLES = 20
set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "ml_platform-hypothesis")  # else a folder where one stands
MAX_ROWS = 8


def search(check: Callable[..., None], *strategies: st.SearchStrategy[Any], examples: int = EXAMPLES) -> None:
    """Tries a property on drawn values, always the same ones, and raises the smallest counterexample's refusal.

    Raises:
        PromiseViolation: what the property raised for the smallest counterexample.
    """

    @settings(
        # Derandomized and without a database: a report is equal each time, and nothing is written beside the user's
        # code.
        max_examples=examples, database=None, derandomize=True, deadline=None, print_blob=False,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=False, verbosity=Verbosity.quiet,
    )  # fmt: skip
    @given(st.tuples(*strategies))
    def try_one(drawn: tuple[Any, ...]) -> None:
        check(*drawn)

    try:
        try_one()
    except Unsatisfiable as error:
        raise Inapplicable("the examples have nothing to try this on") from error
    # Hypothesis tries a failure again while it shrinks; one that does not fail twice alike is a finding of its own.
    except Flaky as error:
        raise PromiseViolation(
            "the answer differs from one time to the next", str(error).splitlines()[0], "see determinism and purity"
        ) from error


def positions(subject: Subject, at_least: int = 1, *, repeats: bool = False) -> st.SearchStrategy[list[int]]:
    """Draws some of the pool's rows; with repeats, one twice now and then."""
    last = len(subject.pool) - 1
    return st.lists(st.integers(0, last), min_size=min(at_least, last + 1), max_size=MAX_ROWS, unique=not repeats)


def frames(subject: Subject, at_least: int = 1, *, repeats: bool = False) -> st.SearchStrategy[pd.DataFrame]:
    """Draws frames that the transformer must answer: of the examples, and of its declared schema where it has one.

    One whose rows depend on others gets them in the order of their times, as from the runtimes.
    """
    # Rows of examples come first: what is drawn from a schema alone is rarely what real data look like.
    known = positions(subject, at_least, repeats=repeats).map(
        lambda drawn: subject.pool.iloc[drawn].reset_index(drop=True)
    )
    drawn = st.one_of(known, fitting(subject, at_least)) if subject.input_schema else known
    as_of = subject.as_of
    if subject.row_wise or as_of is None:
        return drawn
    return drawn.map(lambda frame: frame.sort_values(as_of, kind="stable", ignore_index=True))


def fitting(subject: Subject, at_least: int = 1) -> st.SearchStrategy[pd.DataFrame]:
    """Draws frames that fit the declared input schema; columns that it does not declare come from examples."""
    assert subject.input_schema is not None
    cells = {column.name: _cells(column, subject.pool) for column in subject.input_schema.columns}
    row = st.tuples(st.integers(0, len(subject.pool) - 1), st.fixed_dictionaries(cells))

    def build(rows: list[tuple[int, dict[str, Any]]]) -> pd.DataFrame:
        base = subject.pool.iloc[[place for place, _ in rows]].reset_index(drop=True)
        drawn = {
            name: pd.Series([values[name] for _, values in rows], dtype=subject.pool[name].dtype) for name in cells
        }
        return base.assign(**drawn)

    return st.lists(row, min_size=at_least, max_size=MAX_ROWS).map(build)


def _cells(column: Column, pool: pd.DataFrame) -> st.SearchStrategy[Any]:
    """Draws one column's values: those of examples, and others that fit."""
    known = st.sampled_from(pool[column.name].tolist())
    if column.type == "any":
        return known
    kind = column.type.split("|")[0] if len(column.type.split("|")) == 1 else _kind(column, pool)
    low, high = (column.minimum, column.maximum) if column.minimum is not None else (-1e6, 1e6)
    assert low is not None
    assert high is not None
    drawn: dict[str, Callable[[], st.SearchStrategy[Any]]] = {
        "integer": lambda: st.integers(int(low), int(high)),
        # Subnormal numbers lose their last bits in a division, which no tolerance by magnitude allows for.
        "number": lambda: st.floats(low, high, allow_subnormal=False),
        "boolean": st.booleans,
        "string": lambda: st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6),
        "datetime": lambda: st.datetimes(datetime(2000, 1, 1), datetime(2035, 1, 1)),
        "timestamp": lambda: st.datetimes(datetime(2000, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),
    }
    values = st.one_of(known, drawn[kind]())
    # Integers and booleans cannot be missing in our schemas (docs/decisions/0005): pandas would make them floats.
    can_be_missing = column.nullable and kind not in ("integer", "boolean")
    return st.one_of(values, st.none()) if can_be_missing else values


def _kind(column: Column, pool: pd.DataFrame) -> str:
    is_zoned = getattr(pool[column.name].dtype, "tz", None) is not None
    return "timestamp" if is_zoned else column.type.split("|")[0]
