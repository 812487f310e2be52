"""Describes counterexamples: how two frames differ, a small frame as text, an error on one line."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pandas as pd

from ml_platform.contract.battery.report import PromiseViolation, Unusable
from ml_platform.contract.battery.subject import Subject
from ml_platform.contract.equality import first_difference

SHOWN_ROWS = 6
SHOWN_COLUMNS = 8


def difference(
    expected: Any, found: Any, names: tuple[str, str], *, is_close_enough: bool = False
) -> tuple[str | None, str] | None:
    """Returns the column in which two frames differ first, and a sentence about it; None if they are equal."""
    told = first_difference(expected, found, names, is_close_enough=is_close_enough)
    if told is None:
        return None
    column, row, details = told
    place = ", ".join(
        [*([f"column {column!r}"] if column is not None else []), *([f"row {row}"] if row is not None else [])]
    )
    return column, f"{place}: {'; '.join(details)}" if place else "; ".join(details)


def require_equal(
    expected: Any, found: Any, names: tuple[str, str], broken: PromiseViolation, *, is_close_enough: bool = False
) -> None:
    """Refuses two frames that differ.

    Raises:
        PromiseViolation: as given, with what differs before its proof.
    """
    told = difference(expected, found, names, is_close_enough=is_close_enough)
    if told is not None:
        raise PromiseViolation(str(broken), "\n".join(filter(None, [told[1], broken.proof])), broken.advice)


def frame_text(frame: pd.DataFrame, label: str = "with") -> str:
    """Returns the first rows and columns of a frame as text."""
    few = frame.iloc[:SHOWN_ROWS, :SHOWN_COLUMNS]
    more = [f"{len(frame) - len(few)} more rows"] if len(few) < len(frame) else []
    more += [f"{frame.shape[1] - few.shape[1]} more columns"] if few.shape[1] < frame.shape[1] else []
    head = f"{label} {len(frame)} row{'s' if len(frame) != 1 else ''}:"
    text: str = few.to_string(index=False, max_colwidth=24)
    return "\n".join([head, text, *([f"({', '.join(more)})"] if more else [])])


def error_line(error: BaseException) -> str:
    """Returns an error's kind and the first line of its message."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"


@contextmanager
def answering(what: str, proof: str | Callable[[], str] = "", advice: str = "") -> Iterator[None]:
    """Turns an error of the transformer's into a broken promise.

    Raises:
        PromiseViolation: says what was asked and what was raised.
    """
    try:
        yield
    # What a check itself raises goes on: it says more than "raises Broken" would.
    except (PromiseViolation, Unusable):
        raise
    except Exception as error:
        raise PromiseViolation(f"{what}: {error_line(error)}", proof, advice) from error


def changed_inputs(before: Mapping[str, pd.DataFrame], after: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    """Lists the frames that are not what they were, their indexes and column names included."""
    for name, frame in before.items():
        told = difference(frame, after[name], ("before it", "afterwards it"))
        if told is not None:
            yield f"input {name!r}: {told[1]}"
        elif not frame.index.equals(after[name].index):
            yield f"input {name!r}: another index"


def whole_answer(subject: Subject) -> Any:
    """Transforms the whole pool with a transformer that nobody used before."""
    return subject.answer(subject.fitted(), subject.pool)
