"""Runs the battery: tries a transformer's ten promises, check by check, and reports what it found."""

import time
import warnings
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ml_platform.contract.battery.checks import (
    concurrency,
    declarations,
    point_in_time,
    processes,
    purity,
    rows,
    schemas,
)
from ml_platform.contract.battery.checks.processes import Elsewhere
from ml_platform.contract.battery.counterexamples import error_line
from ml_platform.contract.battery.examples import subject_of
from ml_platform.contract.battery.report import (
    PROMISES,
    Finding,
    Inapplicable,
    PromiseViolation,
    Report,
    Undeclared,
    Unusable,
    Verdict,
)
from ml_platform.contract.battery.subject import Subject, transformer_text
from ml_platform.contract.battery.worker import frame_bytes
from ml_platform.errors import expected_one_of


class Needs(Enum):
    """What a check is called with."""

    TRANSFORMER = "the transformer alone, unfitted"
    ROWS = "a `Subject`: the transformer with rows that it answers"
    PROCESS = "a `Subject`, and what the transformer answers in another process"


@dataclass(frozen=True)
class Check:
    """One check of a promise; its function raises what is wrong, and returns nothing."""

    promise: str
    needs: Needs
    function: Callable[..., None]

    def run(self, elsewhere: Elsewhere) -> Finding:
        """Runs the check and returns what it found; whatever the transformer raises is a broken promise."""
        name, subject = self.function.__name__, elsewhere.subject
        given = {Needs.TRANSFORMER: (subject.transformer,), Needs.ROWS: (subject,), Needs.PROCESS: (subject, elsewhere)}
        try:
            self.function(*given[self.needs])
        except PromiseViolation as broken:
            return Finding(name, "broken", str(broken), broken.proof, broken.advice)
        except Undeclared as missing:
            return Finding(name, "not declared", str(missing))
        except Inapplicable as silent:
            return Finding(name, "not applicable", str(silent))
        except (Exception, SystemExit) as error:  # noqa: BLE001  (the transformer's own: it fails where it must answer)
            return Finding(name, "broken", f"it raises {error_line(error)}")
        return Finding(name, "kept")


def _of(promise: str, needs: Needs, *functions: Callable[..., None]) -> list[Check]:
    return [Check(promise, needs, function) for function in functions]


# In the order in which they run: what waits for the other process comes last, so that it computes meanwhile.
CHECKS: Sequence[Check] = (
    *_of("parameters", Needs.TRANSFORMER, *declarations.CHECKS),
    *_of("schema", Needs.ROWS, *schemas.CHECKS),
    *_of("purity", Needs.ROWS, *purity.CHECKS),
    *_of("rows", Needs.ROWS, rows.rows_are_as_declared),
    *_of("row_wise", Needs.ROWS, rows.one_row_alone_is_answered_as_in_a_batch),
    *_of("partition_invariance", Needs.ROWS, rows.parts_give_what_the_whole_gives),
    *_of("partition_invariance", Needs.ROWS, point_in_time.other_inputs_are_looked_back_into_as_declared),
    *_of("point_in_time", Needs.ROWS, *point_in_time.CHECKS),
    *_of("determinism", Needs.ROWS, *processes.CHECKS_HERE),
    *_of("concurrency", Needs.ROWS, concurrency.threads_answer_as_one_does),
    *_of("determinism", Needs.PROCESS, processes.another_process_gives_equal_bytes),
    *_of("safe_persistence", Needs.PROCESS, *processes.CHECKS_OF_STORAGE),
)


def check_transformer(
    transformer: Any, examples: Any = None, y: Any = None, *, promises: Collection[str] = tuple(PROMISES), **side: Any
) -> Report:
    """Tries a transformer's ten promises: each is kept, broken with the smallest counterexample, or not declared.

    A promise that says nothing about a transformer (row by row, of one that aggregates) is not applicable. Rows are
    taken for preserved, and each answered by itself, until the class says otherwise.

    Args:
        transformer: a scikit-learn transformer or a `DataTransformer`, unfitted; it is left as it is.
        examples: a DataFrame such as it will get, some dozen rows or more; some hundred of a large one are tried.
            None draws them from its declared `input_schema`.
        y: what it learns, if it learns a target, a value for each row.
        promises: which to try; the others are left out of the report.
        **side: examples of its other inputs, by name.

    Returns:
        The report; `print` shows it, `.broken` names what is broken, `.require_all()` refuses it.

    Raises:
        Unusable: it is no transformer, fails on the examples, or there is nothing to try it on.

    Examples:
        >>> import pandas as pd
        >>> from ml_platform.transformers import Calendar
        >>> report = check_transformer(Calendar("at"), promises=["rows", "row_wise"])
        >>> report.broken
        []
    """
    for promise in promises:
        if promise not in PROMISES:
            raise ValueError(f"no promise {promise!r}: {expected_one_of(promise, PROMISES)}")
    started = time.perf_counter()
    subject = subject_of(transformer, examples, y, side)
    checks = [check for check in CHECKS if check.promise in promises]
    if _needs_process(checks):
        processes.start_worker()  # before the first check, as starting takes a second
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        verdicts = _verdicts(subject, checks)
    rows = "rows drawn from its schema" if subject.is_drawn else "rows"
    return Report(transformer_text(transformer), f"{len(subject.X):,} {rows}", verdicts, time.perf_counter() - started)


def _needs_process(checks: Iterable[Check]) -> bool:
    return any(check.needs is Needs.PROCESS for check in checks)


def _verdicts(subject: Subject, checks: Sequence[Check]) -> list[Verdict]:
    elsewhere, chosen = Elsewhere(subject), {check.promise for check in checks}
    findings: dict[str, list[Finding]] = {promise: [] for promise in PROMISES if promise in chosen}
    for check in (check for check in checks if check.needs is Needs.TRANSFORMER):
        findings[check.promise].append(check.run(elsewhere))
    # A declaration that nobody understands is reported even where its promise was not asked for: the other checks go
    # by what is declared.
    for promise, problem in declarations.invalid_declarations(subject.transformer):
        findings.setdefault(promise, []).append(Finding("invalid_declarations", "broken", problem))
    try:
        _require_answers(subject)
    except Unusable as error:
        return _verdicts_without_answers(subject, findings, error)
    if _needs_process(checks):
        elsewhere.ask()
    for check in (check for check in checks if check.needs is not Needs.TRANSFORMER):
        findings[check.promise].append(check.run(elsewhere))
    return [Verdict(promise, findings[promise]) for promise in PROMISES if findings.get(promise)]


def _verdicts_without_answers(subject: Subject, findings: dict[str, list[Finding]], error: Unusable) -> list[Verdict]:
    """Returns the verdicts where a broken promise explains why nothing is answered.

    Raises:
        Unusable: none does, so the examples are what is wrong.
    """
    is_broken = any(finding.outcome == "broken" for found in findings.values() for finding in found)
    if subject.is_drawn and not is_broken and "schema" in findings:
        why = f"what its input schema describes is not answered: {error}"
        findings["schema"].append(Finding("answers_fit_the_output_schema", "broken", why))
        is_broken = True
    if not is_broken:
        raise error
    silent = Finding("not_tried", "not applicable", f"not tried: {error}")
    return [Verdict(promise, found or [silent]) for promise, found in findings.items()]


def _require_answers(subject: Subject) -> None:
    """Refuses a transformer that cannot even answer its examples.

    Raises:
        Unusable: with what it raised.
    """
    what = "fitted"
    try:
        fitted = subject.fit()
        what = "asked to transform"
        answer = subject.answer(fitted, subject.pool)
        what = "whose answer is to be stored as Parquet"
        frame_bytes(answer)
    except Unusable:
        raise
    except (Exception, SystemExit) as error:
        raise Unusable(f"{subject.name}, {what} with the examples, raises {error_line(error)}") from error
