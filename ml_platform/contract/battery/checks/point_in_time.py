"""Promise 7: with rows from the future removed, nothing changes."""

from typing import Any

import pandas as pd

from ml_platform.contract.battery.counterexamples import answering, frame_text, require_equal
from ml_platform.contract.battery.report import Inapplicable, PromiseViolation, Undeclared
from ml_platform.contract.battery.subject import Subject
from ml_platform.errors import first_few

_ADVICE = "use only what was known at each row's own time, by as_of"


def the_future_does_not_matter(subject: Subject) -> None:
    """Rows up to a time are answered the same without all that was known later, in every input."""
    as_of = _time_of(subject)
    transformer = subject.fitted()
    whole = subject.answer(transformer, subject.pool)
    # Without times in the result nobody can say which of its rows are from before a moment.
    if as_of not in whole and subject.rows != "preserve":
        raise Undeclared(
            f"as_of names {as_of!r}, which the result has no column of: nobody can tell what was known when"
        )
    for now in sorted(subject.pool[as_of].dropna().unique()):
        _require_unchanged(subject, transformer, whole, now)


def _time_of(subject: Subject) -> str:
    if not subject.side and subject.row_wise and subject.rows != "aggregate":
        raise Inapplicable("it sees one row and no other input, so no future")
    as_of = subject.as_of
    if as_of is None:
        raise Undeclared("as_of: the column that says when a row was known, as it sees more than one row")
    if as_of not in subject.pool:
        raise PromiseViolation(
            f"as_of names {as_of!r}, which is no column of the first input", "", "name the column of times"
        )
    return as_of


def times_of_other_inputs_are_declared(subject: Subject) -> None:
    """Another input that has times has the column that as_of names, or nobody could take its future away."""
    as_of = _time_of(subject)
    for name, frame in subject.side.items():
        times = list(frame.select_dtypes(["datetime", "datetimetz"]).columns)
        if times and as_of not in frame:
            raise Undeclared(
                f"input {name!r} has times ({first_few(times)}) but no column {as_of!r}, which as_of names"
            )


def _require_unchanged(subject: Subject, transformer: Any, whole: pd.DataFrame, now: Any) -> None:
    as_of = str(subject.as_of)
    is_past = subject.pool[as_of] <= now
    seen = subject.pool[is_past]
    # Not `<= now`: a row without a time was known always, and must stay.
    side = {name: frame[~(frame[as_of] > now)] if as_of in frame else frame for name, frame in subject.side.items()}
    with answering(f"without what came after {now} it cannot be answered", lambda: frame_text(seen), _ADVICE):
        answer = subject.answer(transformer, seen, side)
    expected = whole[is_past.to_numpy()] if subject.rows == "preserve" else whole[whole[as_of] <= now]
    found = answer if subject.rows == "preserve" else answer[answer[as_of] <= now]
    told = f"what came after {now} changes the answer for rows before"
    broken = PromiseViolation(told, lambda: frame_text(seen[-3:], "the last"), _ADVICE)
    require_equal(expected, found, ("with the future it", "without it"), broken, is_close_enough=True)


def other_inputs_are_looked_back_into_as_declared(subject: Subject) -> None:
    """Rows of a time are answered the same by what other inputs had from their lookback on: all that a run gives."""
    as_of = _time_of(subject)
    timed = [name for name, frame in subject.side.items() if as_of in frame]
    # An aggregate's row has no single time to look back from.
    if not timed or subject.rows == "aggregate":
        return
    transformer, lookback = subject.fitted(), subject.transformer.lookback
    for now in sorted(subject.pool[as_of].dropna().unique()):
        rows = subject.pool[subject.pool[as_of] == now]
        side = {name: frame[frame[as_of] >= now - lookback] if name in timed else frame
                for name, frame in subject.side.items()}  # fmt: skip
        advice = "declare how far it looks back: lookback"
        with answering(f"with the {lookback} before {now} alone it cannot be answered", frame_text(rows), advice):
            found = subject.answer(transformer, rows, side)
        expected = subject.answer(transformer, rows)
        broken = PromiseViolation(
            f"what other inputs had before the {lookback} that it looks back matters", frame_text(rows), advice
        )
        require_equal(expected, found, ("with all of it, it", "with its lookback it"), broken, is_close_enough=True)


CHECKS = (the_future_does_not_matter, times_of_other_inputs_are_declared)
