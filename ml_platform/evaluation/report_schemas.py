"""Defines the schemas, each with a version, of selection, evaluation and approval reports."""

from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from ml_platform.artifacts import Report
from ml_platform.errors import ArtifactError

Scores = dict[str, float]  # by metric


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Facts(_Frozen):
    """Facts of a report. A change of what they hold raises `version` here, and the kind's number in `versions`."""

    noun: ClassVar[str]

    @classmethod
    def of(cls, report: Report) -> Self:
        """Reads the facts of a report.

        Raises:
            ArtifactError: facts of another version, or of something else.
        """
        label = report.ref.label if report.ref is not None else cls.noun
        expected, found = cls.model_fields["version"].default, report.facts.get("version", 1)
        if found != expected:
            raise ArtifactError(
                f"{label} was written as version {found} of {cls.noun}; this platform reads version {expected}: "
                "materialize it again"
            )
        try:
            return cls.model_validate(report.facts)
        except ValidationError as error:
            raise ArtifactError(f"{label} is not {cls.noun}: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values."""
        return self.model_dump(mode="json")


class GateResult(_Frozen):
    """One gate, what was found, and whether it passed."""

    name: str
    metric: str
    value: float
    bound: str  # such as "≥ 0.695"
    passed: bool
    why: str


class CandidateFacts(_Frozen):
    """One of the models that were evaluated.

    Attributes:
        class_name: of the estimator.
        digest: of its version.
        rows_train: that it was fitted on, validation included.
        validation: the metric that models are selected by, on the validation rows.
        metrics: on the test rows.
    """

    class_name: str
    digest: str
    rows_train: int
    validation: float
    metrics: Scores


class Confusion(_Frozen):
    """Right and wrong answers of yes or no at a threshold."""

    threshold: float
    true_negatives: int
    false_positives: int
    false_negatives: int
    true_positives: int
    precision: float
    recall: float


class ConfusionOfClasses(_Frozen):
    """For each class (a row, by its place) what was predicted for it (a column)."""

    counts: list[list[int]]


class Group(_Frozen):
    """The rows that have one value in a column: how many, and how well they are predicted.

    Attributes:
        figures: what the task tells of a group; None for a metric that it has none of.
    """

    value: str
    rows: int
    figures: dict[str, float | None]


class Selection(_Facts):
    """Which candidate is best on the validation rows.

    Attributes:
        ranked: all of them, the best first.
        validation: model to its scores there, and its threshold.
        models: model to the digest of the version that was ranked.
    """

    noun: ClassVar[str] = "a selection"
    version: Literal[2] = 2
    best: str
    ranked: list[str]
    selected_by: str
    split: dict[str, Any]
    threshold: float | None
    validation: dict[str, dict[str, Any]]
    models: dict[str, str]


class Evaluation(_Facts):
    """How good the candidates are on the test rows, and whether the best of them passes the gates.

    Attributes:
        metric_names: what is measured, what people look at first in front.
        metrics: of the best model; `models` has those of all.
        target_facts: what the task tells of the test rows' targets, such as their mean.
        by: column to the rows of each of its values.
        data_test: label to digest of the features that were asked about.
    """

    noun: ClassVar[str] = "an evaluation"
    version: Literal[2] = 2
    pipeline: str
    description: str
    task: str
    target: str
    key: list[str]
    features: list[str]
    split: dict[str, Any]
    rows_train: int
    rows_test: int
    selected_by: str
    best: str
    threshold: float | None
    classes: list[Any]
    metric_names: list[str]
    metrics: Scores
    target_facts: dict[str, float]
    models: dict[str, CandidateFacts]
    confusion: Confusion | ConfusionOfClasses | None
    by: dict[str, list[Group]]
    gates: list[GateResult]
    data_test: dict[str, str]

    @property
    def passed(self) -> bool:
        """Whether every gate passed."""
        return all(gate.passed for gate in self.gates)


class Approval(_Facts):
    """The model that passed every gate, by version.

    Attributes:
        digest: of the model; `evaluation`: of the evaluation that says so.
    """

    noun: ClassVar[str] = "an approval"
    version: Literal[2] = 2
    model: str
    digest: str
    threshold: float | None
    evaluation: str
    gates: list[GateResult]
