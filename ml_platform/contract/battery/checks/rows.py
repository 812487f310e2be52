"""Promises 4, 5 and 6: what happens to rows, and whether a row's answer depends on those around it."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pandas as pd

from ml_platform.contract.battery.checks.declarations import ROWS
from ml_platform.contract.battery.counterexamples import answering, frame_text, require_equal
from ml_platform.contract.battery.report import Inapplicable, PromiseViolation, Undeclared
from ml_platform.contract.battery.strategies import EXAMPLES, frames, search
from ml_platform.contract.battery.subject import Subject
from ml_platform.errors import first_few
from ml_platform.extras import needing

with needing("hypothesis"):
    from hypothesis import assume
    from hypothesis import strategies as st

_LEARN = "what a row needs of other rows is learnt in fit and kept; or declare row_wise = False, as_of and lookback"
_PARTS = "declare how far it looks back (row_wise = False, as_of, lookback), or learn it in fit"


def rows_are_as_declared(subject: Subject) -> None:
    """As many rows come out as are declared to, and those that pass through are in order."""
    if subject.rows not in ROWS:
        return  # told as an invalid declaration
    check = {"preserve": _preserved, "filter": _filtered, "aggregate": _aggregated}[subject.rows]
    transformer = subject.fitted()

    def keeps(frame: pd.DataFrame) -> None:
        check(subject, frame, _answer_or_reject(subject, transformer, frame))

    check(subject, subject.pool, subject.answer(transformer, subject.pool))
    search(keeps, frames(subject))


def _answer_or_reject(subject: Subject, transformer: Any, frame: pd.DataFrame) -> Any:
    """Returns the answer for a frame; one that cannot be answered is skipped, as it is the matter of promise 2."""
    try:
        return subject.answer(transformer, frame)
    except Exception:  # noqa: BLE001
        assume(False)


def _preserved(subject: Subject, frame: pd.DataFrame, answer: pd.DataFrame) -> None:
    def proof() -> str:
        return "\n".join([frame_text(frame, "asked with"), frame_text(answer, "answered with")])

    if len(answer) != len(frame):
        raise PromiseViolation(
            f"{len(frame)} rows came in and {len(answer)} out; declared is one for each",
            proof, 'declare rows = "filter" or "aggregate", or answer every row',
        )  # fmt: skip
    for name in _passed(frame, answer):
        before, after = list(map(str, frame[name])), list(map(str, answer[name]))
        # Equal values in another order mean moved rows; changed values are a transformer's right.
        if before != after and sorted(before) == sorted(after):
            raise PromiseViolation(f"rows come out in another order (column {name!r})", proof, "keep the order of rows")


def _passed(frame: pd.DataFrame, answer: pd.DataFrame) -> list[Any]:
    return [name for name in frame.columns if name in answer.columns]


def _filtered(subject: Subject, frame: pd.DataFrame, answer: pd.DataFrame) -> None:
    passed = _passed(frame, answer)
    if not passed:
        raise Undeclared("which rows were left: a filter must keep a column that tells them")
    before, after = _told_apart(frame[passed]), _told_apart(answer[passed])
    # `in` uses the iterator up to the match, so this says that `after` is a subsequence of `before`.
    rest = iter(before)
    if not all(row in rest for row in after):
        raise PromiseViolation(
            "rows come out that did not come in, or in another order",
            "\n".join([frame_text(frame, "asked with"), frame_text(answer, "answered with")]),
            "a filter leaves rows out and changes nothing else",
        )


def _told_apart(frame: pd.DataFrame) -> list[tuple[str, ...]]:
    return [tuple(map(repr, row)) for row in frame.itertuples(index=False, name=None)]


def _aggregated(subject: Subject, frame: pd.DataFrame, answer: pd.DataFrame) -> None:
    key = _key(subject)
    missing = [name for name in key if name not in answer.columns]
    if missing:
        raise PromiseViolation(
            f"the key's column {first_few(missing)} is not in the answer", frame_text(answer), "key names columns"
        )
    if answer.duplicated(key).any():
        raise PromiseViolation(
            f"several rows have one key ({', '.join(key)})", frame_text(answer), "declare what identifies a row"
        )


def _key(subject: Subject) -> list[str]:
    key = getattr(subject.transformer, "key", None)
    if not key:
        raise Undeclared("key: which columns identify a row of the result")
    if isinstance(key, str):
        raise PromiseViolation(f"key is {key!r}: expected a list of columns", "", f"key = [{key!r}]")
    return list(key)


def one_row_alone_is_answered_as_in_a_batch(subject: Subject) -> None:
    """A row's answer does not depend on which rows come with it, nor on their order."""
    if subject.rows != "preserve":
        raise Inapplicable(f"rows = {subject.rows!r}: only a row that is preserved has an answer of its own")
    if not subject.row_wise:
        _with_its_history(subject)
        return
    transformer = subject.fitted()

    def alike(frame: pd.DataFrame, picked: list[int]) -> None:
        places = list(dict.fromkeys(place % len(frame) for place in picked))
        batch = _answer_or_reject(subject, transformer, frame)
        # Another number of rows is reported by promise 4, and places would not match.
        assume(len(batch) == len(frame))
        _require_alike(subject, transformer, frame, batch, places)

    whole = subject.answer(transformer, subject.pool)
    if len(whole) == len(subject.pool):
        search(alike, frames(subject, repeats=True), st.lists(st.integers(0, 7), min_size=1, max_size=4))
        for place in range(0, len(whole), max(1, len(whole) // 5)):
            _require_alike(subject, transformer, subject.pool, whole, [place])


def _require_alike(
    subject: Subject, transformer: Any, frame: pd.DataFrame, batch: pd.DataFrame, places: Sequence[int]
) -> None:
    alone = frame.iloc[list(places)]
    how = "one row alone" if len(places) == 1 else f"{len(places)} rows by themselves"

    def proof() -> str:
        return f"{frame_text(frame, 'in a batch of')}\nby itself: row {', '.join(map(str, places))}"

    with answering(f"{how} cannot be answered, and can in a batch", proof, _LEARN):
        answer = subject.answer(transformer, alone)
    if len(answer) != len(alone):
        return  # the matter of promise 4
    broken = PromiseViolation(
        f"{how} {_are(places)} answered differently than in a batch of {len(frame)}", proof, _LEARN
    )
    require_equal(batch.iloc[list(places)], answer, ("the batch", "the row by itself"), broken, is_close_enough=True)


def _are(places: Sequence[int]) -> str:
    return "is" if len(places) == 1 else "are"


def _by_time(subject: Subject) -> tuple[pd.DataFrame, Any, timedelta]:
    """Returns the pool in order of time, its times, and how far a row looks back."""
    as_of = subject.as_of
    if as_of is None:
        raise Undeclared("as_of: the column that says when a row was known, as rows depend on others")
    if as_of not in subject.pool:
        raise PromiseViolation(
            f"as_of names {as_of!r}, which is no column of the first input", "", "name the column of times"
        )
    pool = subject.pool.sort_values(as_of, kind="stable").reset_index(drop=True)
    return pool, pool[as_of], subject.transformer.lookback


def _with_its_history(subject: Subject) -> None:
    """A row with the rows of its lookback before it is answered as in a batch."""
    pool, times, lookback = _by_time(subject)
    transformer = subject.fitted()
    batch = subject.answer(transformer, pool)

    def alike(place: int) -> None:
        history = pool[(times >= times[place] - lookback) & (times <= times[place])]
        with answering("a row with its history cannot be answered", lambda: frame_text(history), _PARTS):
            answer = subject.answer(transformer, history)
        broken = PromiseViolation(
            f"a row with the {lookback} before it is answered differently than with all rows",
            lambda: frame_text(history), _PARTS,
        )  # fmt: skip
        names = ("with all rows it", "with its history it")
        own = history.index.get_loc(place)
        require_equal(batch.iloc[[place]], answer.iloc[[own]], names, broken, is_close_enough=True)

    for place in _places(times):
        alike(place)


def _places(times: pd.Series) -> list[int]:
    """Returns the positions of rows whose time is known."""
    return [int(place) for place in times[times.notna()].index]


def parts_give_what_the_whole_gives(subject: Subject) -> None:
    """Transforming part by part and putting the answers together equals transforming at once."""
    if subject.rows == "aggregate":
        _groups_by_groups(subject)
    elif subject.row_wise:
        _piece_by_piece(subject)
    else:
        _period_by_period(subject)


def _piece_by_piece(subject: Subject) -> None:
    transformer = subject.fitted()

    def alike(frame: pd.DataFrame, cut: int) -> None:
        # Never an empty part: how empty frames are answered is promise 2's.
        place = 1 + cut % (len(frame) - 1)
        _require_parts(subject, transformer, frame, [frame.iloc[:place], frame.iloc[place:]])

    if len(subject.pool) > 1:
        middle = len(subject.pool) // 2
        search(alike, frames(subject, at_least=2, repeats=True), st.integers(0, 6))
        _require_parts(subject, transformer, subject.pool, [subject.pool[:middle], subject.pool[middle:]])


def _require_parts(
    subject: Subject, transformer: Any, frame: pd.DataFrame, parts: Sequence[pd.DataFrame], key: Sequence[str] = ()
) -> None:
    whole = _answer_or_reject(subject, transformer, frame)

    def proof() -> str:
        return frame_text(frame, f"in parts of {' and '.join(str(len(part)) for part in parts)} of")

    with answering("a part cannot be answered, and the whole can", proof, _PARTS):
        answers = [subject.answer(transformer, part) for part in parts if len(part)]
    together = pd.concat(answers, ignore_index=True)
    if key:
        whole, together = (one.sort_values(list(key)).reset_index(drop=True) for one in (whole, together))
    broken = PromiseViolation("part by part it answers differently than at once", proof, _PARTS)
    require_equal(whole, together, ("the whole", "the parts together"), broken, is_close_enough=True)


def _groups_by_groups(subject: Subject) -> None:
    """Rows that share a key are in one part; the other parts change nothing."""
    if not subject.row_wise:
        raise Undeclared("an aggregate that depends on other groups: nobody can tell which rows of a part it needs")
    key = _key(subject)
    shared = [name for name in key if name in subject.pool.columns]
    if not shared:
        raise Undeclared(f"key ({', '.join(key)}): none of it is a column of the input, so nobody can cut it in parts")
    transformer = subject.fitted()
    groups = subject.pool.groupby(shared, dropna=False).ngroup()

    def alike(chosen: set[int]) -> None:
        # Neighbouring groups make the second part, so that both parts have rows and every group may meet any other.
        is_first = groups.isin(chosen)
        used = subject.pool[is_first | groups.isin([group + 1 for group in chosen])]
        parts = [used[is_first.reindex(used.index)], used[~is_first.reindex(used.index)]]
        assume(all(len(part) for part in parts))
        _require_parts(subject, transformer, used, parts, key)

    search(alike, st.sets(st.integers(0, int(groups.max())), min_size=1, max_size=4), examples=EXAMPLES)


def _period_by_period(subject: Subject) -> None:
    """A period with the rows of its lookback before it is answered as within all of them."""
    pool, times, lookback = _by_time(subject)
    if subject.rows == "filter":
        raise Undeclared("a filter that depends on other rows: nobody can tell which rows of a period are left")
    transformer = subject.fitted()
    whole = subject.answer(transformer, pool)

    def alike(place: int) -> None:
        start = times[place]
        # From the lookback on to the end: what a run of this period and all later ones gets.
        seen = pool[times >= start - lookback]
        with answering("a period cannot be answered, and the whole can", lambda: frame_text(seen), _PARTS):
            answer = subject.answer(transformer, seen)
        wanted = (seen[str(subject.as_of)] >= start).to_numpy()
        told = f"from {start} on, with the {lookback} before, it answers differently"
        broken = PromiseViolation(told, lambda: frame_text(seen), _PARTS)
        names = ("with all rows it", "with its lookback it")
        require_equal(whole[(times >= start).to_numpy()], answer[wanted], names, broken, is_close_enough=True)

    for place in _places(times):
        alike(place)
