"""Promise 2: schemas are declared, and what fits is answered with what fits."""

from dataclasses import replace

import pandas as pd

from ml_platform.contract.application import empty_answer, refuse_unfit
from ml_platform.contract.battery.counterexamples import answering, frame_text
from ml_platform.contract.battery.report import PromiseViolation, Undeclared
from ml_platform.contract.battery.strategies import EXAMPLES, fitting, frames, search
from ml_platform.contract.battery.subject import Subject
from ml_platform.errors import DataError, first_few
from ml_platform.schema import DTYPES, Column, Schema, frame_schema

_MORE = "declare the column in input_schema, or do without it"


def schemas_are_declared(subject: Subject) -> None:
    """The class says which columns it needs and which it gives."""
    if subject.is_plain:
        raise Undeclared("scikit-learn's own kind declares no schemas")
    declared = subject.transformer.output_schema(_given(subject), **_side(subject))
    if not isinstance(declared, Schema):
        raise PromiseViolation(f"output_schema gives a {type(declared).__name__}; expected a Schema")
    # The default of the base class: open and without a column, which declares nothing.
    if declared.is_open and not declared.columns:
        raise Undeclared("output_schema: which columns come out for those that come in")
    if subject.input_schema is None:
        raise Undeclared("input_schema: which columns the first input must have")
    if subject.side and subject.transformer.side_schema is None:
        raise Undeclared("side_schema: which columns the other inputs must have")


def _given(subject: Subject) -> Schema:
    """Returns the schema of the examples, with the nullability and ranges that are declared.

    A column of a dtype that the store would give another one (categories, nanoseconds) has any type.
    """
    seen = frame_schema(subject.X)
    odd = [Column(c.name, "any", True) for c in seen.columns if str(subject.X[c.name].dtype) != DTYPES[c.type]]
    return seen.with_columns(odd).with_columns(
        [column for column in (subject.input_schema or Schema()).columns if column.is_exact]
    )


def _side(subject: Subject) -> dict[str, Schema]:
    return {name: frame_schema(frame) for name, frame in subject.side.items()}


def answers_fit_the_output_schema(subject: Subject) -> None:
    """Every frame that fits the input schema is answered with a frame that fits the output schema."""
    if subject.is_plain:
        return
    transformer = subject.fitted()
    declared = subject.transformer.output_schema(_given(subject), **_side(subject))

    def fits(frame: pd.DataFrame) -> None:
        with answering(
            "a frame that fits the input schema is not answered",
            lambda: frame_text(frame),
            "answer it, or declare less",
        ):
            answer = subject.answer(transformer, frame)
        _require_fit(declared, answer, frame)

    # More where a schema is drawn from: its corners are rarer than those of examples.
    search(fits, frames(subject), examples=40 if subject.input_schema else EXAMPLES)


def _require_fit(declared: Schema, answer: pd.DataFrame, frame: pd.DataFrame) -> None:
    found = declared.violations(answer)
    if not declared.is_open and list(answer.columns) != declared.names and not found:
        found = [f"columns {list(answer.columns)}, declared {declared.names}"]
    if found:
        raise PromiseViolation(
            f"the answer does not fit the output schema: {first_few(found)}",
            "\n".join([frame_text(frame, "asked with"), frame_text(answer, "answered with")]),
            "let transform give what output_schema says, or say what it gives",
        )


def declared_columns_are_enough(subject: Subject) -> None:
    """A frame of the declared columns alone is answered."""
    if subject.input_schema is None:
        return
    narrow = replace(subject, X=subject.X[subject.input_schema.names])
    with answering("it cannot be fitted on the declared columns alone", "", _MORE):
        transformer = narrow.fitted()

    def answers(frame: pd.DataFrame) -> None:
        with answering("the declared columns are not enough", lambda: frame_text(frame), _MORE):
            narrow.answer(transformer, frame)

    search(answers, fitting(narrow), examples=5)


def what_does_not_fit_is_refused(subject: Subject) -> None:
    """Frames without a declared column, or with another kind of values in it, are refused by name before any work."""
    for column in (subject.input_schema or Schema()).columns:
        _require_refusal(subject, subject.pool.drop(columns=column.name), column, "without it")
        if column.type != "any":
            _require_refusal(
                # No declared type holds bytes, so one probe serves them all.
                subject,
                subject.pool.assign(**{column.name: [b""] * len(subject.pool)}),
                column,
                "of bytes",
            )


def _require_refusal(subject: Subject, frame: pd.DataFrame, column: Column, how: str) -> None:
    try:
        refuse_unfit(subject.transformer, frame, subject.side)
    except DataError as refused:
        if repr(column.name) in str(refused):
            return
    raise PromiseViolation(f"column {column.name!r}: a frame {how} is not refused by name")


def an_empty_frame_is_answered(subject: Subject) -> None:
    """The runtimes answer an empty frame with an empty frame of the declared schema."""
    if subject.is_plain:
        return
    transformer, empty = subject.fitted(), subject.pool[:0]
    declared = subject.transformer.output_schema(_given(subject), **_side(subject))
    with answering("an empty frame is not answered", "", "give an empty frame of the right columns"):
        answer = empty_answer(transformer, empty, subject.side)
        if answer is None:
            answer = subject.answer(transformer, empty)
    _require_fit(declared, answer, empty)


CHECKS = (
    schemas_are_declared,
    answers_fit_the_output_schema,
    declared_columns_are_enough,
    what_does_not_fit_is_refused,
    an_empty_frame_is_answered,
)
