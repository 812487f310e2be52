"""Does a transformer keep its ten promises?"""

import time
import warnings
from collections.abc import Callable, Collection
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
    Broken,
    Finding,
    Inapplicable,
    Report,
    Undeclared,
    Unusable,
    Verdict,
)
from ml_platform.contract.battery.subject import Subject, transformer_text
from ml_platform.contract.battery.worker import frame_bytes
from ml_platform.errors import expected_one_of

Check = Callable[[Subject], None]

_OF_THE_OBJECT: tuple[Callable[[Any], None], ...] = (
    declarations.constructor_only_stores,
    declarations.copies_are_equal,
    declarations.yaml_gives_an_equal_object,
    declarations.wrong_values_are_refused,
)
_CHECKS: dict[str, tuple[Check, ...]] = {
    "schema": schemas.CHECKS,
    "purity": purity.CHECKS,
    "rows": (rows.rows_are_as_declared,),
    "row_wise": (rows.one_row_alone_is_answered_as_in_a_batch,),
    "partition_invariance": (
        rows.parts_give_what_the_whole_gives,
        point_in_time.other_inputs_are_looked_back_into_as_declared,
    ),
    "point_in_time": point_in_time.CHECKS,
    "determinism": (
        processes.fits_are_equal,
        processes.fit_transform_is_fit_and_transform,
        processes.chance_is_seeded,
    ),
    "concurrency": (concurrency.threads_answer_as_one_does,),
}
_ELSEWHERE: dict[str, tuple[Callable[[Subject, Elsewhere], None], ...]] = {
    "determinism": (processes.another_process_gives_equal_bytes,),
    "safe_persistence": (
        processes.what_is_learnt_can_be_stored,
        processes.nothing_is_learnt_in_secret,
        processes.what_was_stored_answers_equally,
    ),
}


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
    if not _ELSEWHERE.keys().isdisjoint(promises):
        processes.start_worker()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        verdicts = _verdicts(subject, promises)
    rows = "rows drawn from its schema" if subject.is_drawn else "rows"
    return Report(transformer_text(transformer), f"{len(subject.X):,} {rows}", verdicts, time.perf_counter() - started)


def _verdicts(subject: Subject, promises: Collection[str]) -> list[Verdict]:
    findings: dict[str, list[Finding]] = {promise: [] for promise in PROMISES if promise in promises}
    if "parameters" in findings:
        findings["parameters"] = [_try(check, subject.transformer) for check in _OF_THE_OBJECT]
    for promise, problem in declarations.invalid_declarations(subject.transformer):
        findings.setdefault(promise, []).append(Finding("invalid_declarations", "broken", problem))
    try:
        _require_answers(subject)
    except Unusable as error:
        known = _told_by(subject, findings, error)
        if known is None:
            raise
        return known
    elsewhere = Elsewhere(subject)
    if not _ELSEWHERE.keys().isdisjoint(promises):
        elsewhere.ask()
    for promise, checks in _CHECKS.items():
        if promise in promises:
            findings[promise] += [_try(check, subject) for check in checks]
    for promise, others in _ELSEWHERE.items():
        if promise in promises:
            findings[promise] += [_try(check, subject, elsewhere) for check in others]
    return [Verdict(promise, findings[promise]) for promise in PROMISES if findings.get(promise)]


def _told_by(subject: Subject, findings: dict[str, list[Finding]], error: Unusable) -> list[Verdict] | None:
    """Gives the verdicts where a broken promise explains why nothing is answered; None where none does."""
    is_broken = any(finding.outcome == "broken" for found in findings.values() for finding in found)
    if subject.is_drawn and not is_broken and "schema" in findings:
        why = f"what its input schema describes is not answered: {error}"
        findings["schema"].append(Finding("answers_fit_the_output_schema", "broken", why))
        is_broken = True
    silent = Finding("not_tried", "not applicable", f"not tried: {error}")
    return [Verdict(promise, found or [silent]) for promise, found in findings.items()] if is_broken else None


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


def _try(check: Callable[..., None], *given: Any) -> Finding:
    name = check.__name__
    try:
        check(*given)
    except Broken as broken:
        return Finding(name, "broken", str(broken), broken.proof, broken.advice)
    except Undeclared as missing:
        return Finding(name, "not declared", str(missing))
    except Inapplicable as silent:
        return Finding(name, "not applicable", str(silent))
    except (Exception, SystemExit) as error:  # noqa: BLE001  (the transformer's own: it fails where it must answer)
        return Finding(name, "broken", f"it raises {error_line(error)}")
    return Finding(name, "kept")
