"""Promise 7: with rows from the future removed, nothing changes."""

from typing import Any

import pandas as pd
from hypothesis import strategies as st

from ml_platform.pipeline.promises.drawing import search
from ml_platform.pipeline.promises.proofs import answering, require_equal, shown
from ml_platform.pipeline.promises.subject import Subject
from ml_platform.pipeline.promises.verdicts import Broken, Inapplicable, Undeclared

_ADVICE = "use only what was known at each row's own time, by as_of"


def the_future_does_not_matter(subject: Subject) -> None:
    """Rows up to a time are answered the same without all that was known later, in every input."""
    if not subject.side and subject.row_wise and subject.rows != "aggregate":
        raise Inapplicable("it sees one row and no other input, so no future")
    as_of = subject.as_of
    if as_of is None:
        raise Undeclared("as_of: the column that says when a row was known, as it sees more than one row")
    if as_of not in subject.pool:
        raise Broken(f"as_of names {as_of!r}, which is no column of the first input", "", "name the column of times")
    whole = subject.answer(subject.fitted(), subject.pool)
    if as_of not in whole and subject.rows != "preserve":
        raise Undeclared(
            f"as_of names {as_of!r}, which the result has no column of: nobody can tell what was known when"
        )
    transformer = subject.fitted()
    times = sorted(subject.pool[as_of].dropna().unique())

    def unchanged(place: int) -> None:
        _require_unchanged(subject, transformer, whole, times[place])

    search(unchanged, st.integers(0, len(times) - 1))


def _require_unchanged(subject: Subject, transformer: Any, whole: pd.DataFrame, now: Any) -> None:
    as_of = str(subject.as_of)
    is_past = subject.pool[as_of] <= now
    seen = subject.pool[is_past]
    side = {name: frame[~(frame[as_of] > now)] if as_of in frame else frame for name, frame in subject.side.items()}
    with answering(f"without what came after {now} it cannot be answered", shown(seen), _ADVICE):
        answer = subject.answer(transformer, seen, side)
    expected = whole[is_past.to_numpy()] if subject.rows == "preserve" else whole[whole[as_of] <= now]
    broken = Broken(f"what came after {now} changes the answer for rows before", shown(seen[-3:], "the last"), _ADVICE)
    require_equal(expected, answer, ("with the future it", "without it"), broken, is_close_enough=True)
