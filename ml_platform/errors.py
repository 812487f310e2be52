"""Defines the errors that the platform raises, and helpers for their messages.

PlatformError
├── SpecError       a pipeline's declaration is wrong: file, line, name, what was expected
├── DataError       data break what was promised of them: file or asset, column, rows
│   └── RowsRefused     rows that get no answer, with the step that drops them
├── ArtifactError   a stored value is missing, damaged or of the wrong kind
├── LaunchError     a launcher that does not exist, is configured wrongly, or cannot take what it is given
├── GateError       an evaluation did not pass its gates
├── MissingExtra    an optional part of the platform that is not installed, with the extra that brings it
└── NoProject       a folder that is in no project
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

Place = tuple[str | int, ...]  # of something in a declaration: the keys and positions that lead to it


class PlatformError(Exception):
    """Anything this platform refuses; the message says what to do next."""


class DataError(PlatformError):
    """Data that break what was promised of them."""


class RowsRefused(DataError):
    """Rows that get no answer, because a step drops them.

    Attributes:
        step: the name of the step.
        rows: positions of the rows in the frame that was given.
    """

    def __init__(self, message: str, step: str, rows: Sequence[int]):
        self.step = step
        self.rows = list(rows)
        super().__init__(message)


class ArtifactError(PlatformError):
    """A stored value that is missing, damaged or of the wrong kind."""


class LaunchError(PlatformError):
    """A launcher that does not exist, is configured wrongly, or cannot take what it is given."""


class GateError(PlatformError):
    """An evaluation whose gates did not pass."""


class MissingExtra(PlatformError):
    """An optional part of the platform that is not installed."""


class NoProject(PlatformError):
    """A folder that is in no project."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a declaration, at its place."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


class SpecError(PlatformError):
    """A declaration with one or more problems, each with file and line."""

    def __init__(self, problems: Sequence[Problem]):
        self.problems = list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def expected_one_of(given: str, known: Iterable[str]) -> str:
    """Returns which names exist, the likely one first, for a message.

    >>> expected_one_of("carier", ["carrier", "dest"])
    "did you mean 'carrier'? Expected one of: carrier, dest"
    """
    names = sorted(known)
    close = get_close_matches(given, names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}Expected one of: {', '.join(names) or '(none exist)'}".strip()


def first_few(items: Sequence[object], count: int = 5) -> str:
    """Returns the first few items as text, with how many more there are.

    >>> first_few([1, 2, 3], count=2)
    '1, 2 and 1 more'
    """
    shown = ", ".join(str(item) for item in items[:count])
    more = len(items) - count
    return f"{shown} and {more:,} more" if more > 0 else shown


def without_password(url: str) -> str:
    """Returns text with the passwords in its URLs replaced.

    >>> without_password("sftp://user:secret@host/path")
    'sftp://user:***@host/path'
    """
    # Greedy up to the last @, as a password may hold one itself.
    return re.sub(r"(://[^\s/:@]*:)[^\s/]*@", r"\1***@", url)


def require_columns(frame_columns: Iterable[str], needed: Iterable[str], who: str) -> None:
    """Refuses a frame that lacks columns, all of them named.

    Raises:
        DataError: with the missing columns and those that exist.
    """
    present = list(frame_columns)
    lacking = [name for name in needed if name not in present]
    if lacking:
        raise DataError(f"{who}: no column {', '.join(map(repr, lacking))}; {expected_one_of(lacking[0], present)}")


class naming:
    """Names the asset, and the partition, in whatever goes wrong inside."""

    def __init__(self, asset: str, partition: str | None = None):
        self._label = asset if partition is None else f"{asset}[{partition}]"

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, PlatformError):
            # The same kind of error with all that it tells, whatever its constructor takes.
            named = type(error).__new__(type(error))
            vars(named).update(vars(error))
            named.args = (f"{self._label}: {error}",)
            raise named from error
        if isinstance(error, Exception):
            # A note and no new class: somebody else's error must be caught as what it is.
            error.add_note(f"while making {self._label}")
