"""Promise 10: transforming from several threads equals transforming from one.

One thread is stopped at a line of the transformer's own code, another transforms something else from beginning to end,
and the first goes on; so for one line after the other. Races between two lines are found each time, not by chance.
"""

import inspect
import sys
import sysconfig
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ml_platform.artifacts.objects import own_classes
from ml_platform.contract.battery.counterexamples import error_line, require_equal
from ml_platform.contract.battery.report import PromiseViolation
from ml_platform.contract.battery.subject import Subject, seeded

PLACES = 8
_SECONDS = 0.5  # how long the second thread may wait for a lock that the first one holds
_ADVICE = "keep what transform works with in local variables, not on self or in a global"


def threads_answer_as_one_does(subject: Subject) -> None:
    """Two threads that share the transformer get the answers that each gets alone."""
    half = max(1, len(subject.pool) // 2)
    one, other = subject.pool[:half], subject.pool[half:] if len(subject.pool) > 1 else subject.pool
    transformer = subject.fitted()
    expected = [subject.answer(transformer, frame) for frame in (one, other)]
    files = _files(transformer)
    lines = _lines(files, lambda: subject.answer(transformer, one))
    for place in _places(lines):
        with seeded(1):
            answers = _interleaved(subject, transformer, (one, other), files, place)
        _require_each(expected, answers, f"while the first was at line {place} of {len(lines)} of its code")


def _places(lines: list[tuple[str, int]]) -> list[int]:
    """Returns where to stop, counted from 1: the first time at each line, and some places spread over the run."""
    firsts = {line: place for place, line in reversed(list(enumerate(lines, 1)))}
    spread = np.linspace(1, max(len(lines), 1), PLACES).astype(int)
    return sorted({*sorted(firsts.values())[: 2 * PLACES], *map(int, spread)})


def _is_own(file: str, kinds: set[str]) -> bool:
    """Returns whether a file has the transformer's own code: its class's, or of a module that is in no library."""
    return file in kinds or not ("site-packages" in file or file.startswith((_LIBRARY, _OURS, "<frozen")))


_LIBRARY = sysconfig.get_paths()["stdlib"]
_OURS = str(Path(__file__).parents[2])


def _files(transformer: Any) -> set[str]:
    """Returns the files that the transformer's and its parts' own code is in."""
    kinds = {kind for own in own_classes(transformer) for kind in own.__mro__ if hasattr(kind, "transform")}
    functions = (inspect.unwrap(value) for kind in kinds for value in vars(kind).values() if inspect.isfunction(value))
    return {function.__code__.co_filename for function in functions}


def _lines(files: set[str], work: Callable[[], Any]) -> list[tuple[str, int]]:
    """Lists the lines of its own code that a transformer goes through."""
    lines: list[tuple[str, int]] = []
    _traced(files, lambda file, number: lines.append((file, number)), work)
    return lines


def _traced(files: set[str], at_line: Callable[[str, int], None], work: Callable[[], Any]) -> Any:
    """Runs work in this thread and calls back at each line of some files."""

    def trace(frame: Any, event: str, _: Any) -> Any:
        # None stops tracing of that call: lines of numpy and pandas are too many to stop at, and not in question.
        if not _is_own(frame.f_code.co_filename, files):
            return None
        if event == "line":
            at_line(frame.f_code.co_filename, frame.f_lineno)
        return trace

    # A debugger or a coverage tool may be tracing; it is put back.
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return work()
    finally:
        sys.settrace(before)


def _interleaved(
    subject: Subject, transformer: Any, frames: tuple[pd.DataFrame, pd.DataFrame], files: set[str], place: int
) -> list[Any]:
    """Lets the second frame be transformed while the first one's thread stands at a line."""
    answers: list[Any] = [None, None]
    lines = 0

    def answer(which: int) -> None:
        try:
            answers[which] = subject.ask(transformer, frames[which])
        except Exception as error:  # noqa: BLE001  (told as a counterexample)
            answers[which] = error

    second = threading.Thread(target=answer, args=(1,))

    def at_line(_file: str, _number: int) -> None:
        nonlocal lines
        lines += 1
        if lines == place:
            second.start()
            # Not without an end: the first thread may hold a lock that the second waits for, which is sound.
            second.join(_SECONDS)

    first = threading.Thread(target=lambda: _traced(files, at_line, lambda: answer(0)))
    first.start()
    first.join()
    # The line is not always reached: with other rows in between, the first may go another way.
    if second.ident is None:
        second.start()
    second.join()
    return answers


def _require_each(expected: list[Any], answers: list[Any], when: str) -> None:
    for alone, found in zip(expected, answers, strict=True):
        if isinstance(found, BaseException):
            raise PromiseViolation(f"with two threads it raises {error_line(found)}", f"the second ran {when}", _ADVICE)
        broken = PromiseViolation("with two threads it answers differently", f"the second ran {when}", _ADVICE)
        require_equal(alone, found, ("one thread", "with two it"), broken, is_close_enough=True)
