"""Prediction tasks (binary, multiclass, regression): targets, answers, metrics and thresholds."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, ClassVar

from ml_platform.errors import DataError, PlatformError, first_few
from ml_platform.plugins import added, load

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_GROUP = "ml_platform.metrics"


def label_of(metric: str) -> str:
    """Returns what people call a metric."""
    labels = {name: known.label for task in TASKS.values() for name, known in task.metrics.items()}
    return labels.get(metric, metric.replace("_", " "))


def added_metrics(task: str) -> dict[str, str]:
    """Lists the metrics that installed distributions add to a task: metric to the entry point's name."""
    named = {key.partition(".")[2]: key for key in added(_GROUP) if key.partition(".")[0] == task}
    known = TASKS[task].metrics
    for metric, key in named.items():
        if metric in known or not metric.isidentifier():
            raise PlatformError(f"{_GROUP}: {key!r}: expected `task.metric` with a new name; known: {', '.join(known)}")
    return named


def metric_paths(task: str) -> list[str]:
    """Returns the dotted paths of the functions that installed distributions add to a task's metrics."""
    return [added(_GROUP)[key].value.replace(":", ".") for key in added_metrics(task).values()]


@dataclass(frozen=True)
class Metric:
    """A figure that says how good answers are.

    Attributes:
        label: what people call it.
        measure: computes it from the truth and the answer of rows, as the task has them.
    """

    label: str
    measure: "Callable[[np.ndarray, np.ndarray], float]"


def _sklearn() -> Any:
    """Imports scikit-learn's metrics when the first is measured: loading definitions does not."""
    from sklearn import metrics

    return metrics


def _macro(score: str, truth: "np.ndarray", classes: "np.ndarray") -> float:
    """Averages a score over the classes, each with equal weight; 0 for a class that no row is predicted as."""
    measured: float = getattr(_sklearn(), score)(truth, classes, average="macro", zero_division=0.0)
    return measured


class Task(ABC):
    """A kind of prediction. An *answer* is what a model says of rows: an array, a row of it for each of them.

    Attributes:
        metrics: what is measured on rows, what people look at first in front; definitions are scikit-learn's.
        selected_by: the metric whose lowest value on the validation rows makes the best model.
        asks: the method that gives a model's answer.
        target_types: the types that the target's column may have.
    """

    metrics: ClassVar[Mapping[str, Metric]]
    selected_by: ClassVar[str]
    asks: ClassVar[str] = "predict_proba"
    target_types: ClassVar[tuple[str, ...]]

    @abstractmethod
    def target(self, column: "pd.Series") -> "np.ndarray":
        """Returns the target as models are fitted to it.

        Raises:
            DataError: values that it cannot have.
        """

    @abstractmethod
    def answer(self, estimator: Any, features: "pd.DataFrame") -> "np.ndarray":
        """Asks a fitted model."""

    def score(self, truth: "np.ndarray", answer: "np.ndarray") -> dict[str, float]:
        """Measures the metrics of `metrics`."""
        return {name: float(metric.measure(truth, answer)) for name, metric in self.metrics.items()}

    @property
    def name(self) -> str:
        """What pipelines call this task."""
        return type(self).__name__.lower()

    @property
    def all_metrics(self) -> tuple[str, ...]:
        """The metrics of `metrics`, and those that installed distributions add (`ml_platform.plugins`)."""
        return (*self.metrics, *added_metrics(self.name))

    def measure(self, truth: "np.ndarray", answer: "np.ndarray") -> dict[str, float]:
        """Measures all metrics, those of installed distributions too.

        Raises:
            DataError: a metric that is no finite number, as no gate could judge it and no report could keep it.
        """
        added_ones = {name: float(load(_GROUP, key)(truth, answer)) for name, key in added_metrics(self.name).items()}
        measured = {**self.score(truth, answer), **added_ones}
        wrong = {name: value for name, value in measured.items() if not isfinite(value)}
        if wrong:
            found = ", ".join(f"{name} is {value}" for name, value in wrong.items())
            raise DataError(
                f"{found} on {len(truth):,} rows; expected finite numbers: look at the answers, or the metric"
            )
        return measured

    @abstractmethod
    def losses(self, truth: "np.ndarray", answer: "np.ndarray") -> "np.ndarray":
        """Returns each row's part in `selected_by`: its mean is that metric (for `rmse`, the metric squared)."""

    @abstractmethod
    def group(self, truth: "np.ndarray", answer: "np.ndarray") -> dict[str, float | None]:
        """Describes a group of rows: what was true, what was said, and how well."""

    @abstractmethod
    def columns(self, target: str, answer: "np.ndarray", classes: Sequence[Any], threshold: Any) -> dict[str, Any]:
        """Turns an answer into the columns of predictions."""

    @abstractmethod
    def answer_in(self, frame: "pd.DataFrame", target: str, classes: Sequence[Any]) -> "np.ndarray":
        """Takes an answer from such columns again."""

    def truth(self, target: "np.ndarray", classes: Sequence[Any]) -> "np.ndarray":
        """Returns the target as answers are judged by it."""
        return target

    def require_learnable(self, target: "np.ndarray", role: str) -> None:
        """Refuses rows whose targets are all equal: nothing can be learnt from or scored on them.

        Raises:
            DataError: names the role, the rows and what they have.
        """
        import numpy as np

        found = np.unique(target)
        if len(found) < 2:  # scikit-learn would raise in the midst of a fit, or warn and give a figure of nothing
            expected = "several values" if isinstance(self, Regression) else "0 and 1"
            expected = "several classes" if isinstance(self, Multiclass) else expected
            raise DataError(
                f"all {len(target):,} {role} rows have target {found.tolist()}; expected {expected}; widen the split"
            )

    def classes(self, estimator: Any) -> list[Any]:
        """Lists the classes in the order of an answer's columns; none for numbers."""
        return [*estimator.classes_.tolist()]

    def threshold(self, truth: "np.ndarray", answer: "np.ndarray") -> float | None:
        """Returns the probability from which the answer is yes, where there is such a thing."""
        return None

    def about(self, target: "np.ndarray") -> dict[str, Any]:
        """Describes the targets of the test rows."""
        return {}


class Binary(Task):
    """Whether something is so: 0 or 1. The answer is the probability of 1, shape (rows,)."""

    metrics: ClassVar[Mapping[str, Metric]] = {
        "roc_auc": Metric("AUC", lambda truth, answer: _sklearn().roc_auc_score(truth, answer)),
        "log_loss": Metric("log loss", lambda truth, answer: _sklearn().log_loss(truth, answer, labels=[0, 1])),
        "brier_score": Metric("Brier score", lambda truth, answer: _sklearn().brier_score_loss(truth, answer)),
        "average_precision": Metric(
            "average precision", lambda truth, answer: _sklearn().average_precision_score(truth, answer)
        ),
    }
    selected_by = "log_loss"
    target_types = ("boolean", "integer")

    def target(self, column: "pd.Series") -> "np.ndarray":
        """Returns 0 and 1."""
        if not column.isin([0, 1]).all():
            found = sorted(map(repr, set(column.unique().tolist()) - {0, 1}))[:3]
            raise DataError(f"target {column.name!r}: expected 0 and 1 (or booleans), found {', '.join(found)}")
        return column.to_numpy(dtype="int64")

    def answer(self, estimator: Any, features: "pd.DataFrame") -> "np.ndarray":
        """Asks for the probability of 1."""
        probability: np.ndarray = estimator.predict_proba(features)[:, 1]
        return probability

    def losses(self, truth: "np.ndarray", answer: "np.ndarray") -> "np.ndarray":
        """Returns each row's log loss."""
        import numpy as np

        return _log_losses(np.where(truth == 1, answer, 1 - answer))

    def group(self, truth: "np.ndarray", answer: "np.ndarray") -> dict[str, float | None]:
        """Returns rates and scores; a group with one class only has no AUC."""
        scores = self.score(truth, answer) if len(set(truth)) > 1 else {}
        return {
            "rate": float(truth.mean()),
            "mean_probability": float(answer.mean()),
            "roc_auc": scores.get("roc_auc"),
            "log_loss": scores.get("log_loss"),
        }

    def threshold(self, truth: "np.ndarray", answer: "np.ndarray") -> float:
        """Returns the probability where F1 is highest on these rows."""
        import numpy as np
        from sklearn.metrics import precision_recall_curve

        precision, recall, thresholds = precision_recall_curve(truth, answer)
        # scikit-learn gives one more precision and recall than thresholds: the point where nothing is a yes.
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        return float(thresholds[f1[:-1].argmax()])

    def about(self, target: "np.ndarray") -> dict[str, Any]:
        """Returns the share of 1."""
        return {"rate_test": float(target.mean())}

    def columns(self, target: str, answer: "np.ndarray", classes: Sequence[Any], threshold: Any) -> dict[str, Any]:
        """Returns `probability` in [0, 1] and `predicted_<target>`."""
        return {"probability": answer, f"predicted_{target}": answer >= threshold}

    def answer_in(self, frame: "pd.DataFrame", target: str, classes: Sequence[Any]) -> "np.ndarray":
        """Takes the probability."""
        return frame["probability"].to_numpy()


class Multiclass(Task):
    """Which of several classes: integers or strings. The answer is their probabilities, shape (rows, classes)."""

    metrics: ClassVar[Mapping[str, Metric]] = {
        "accuracy": Metric("accuracy", lambda truth, answer: _sklearn().accuracy_score(truth, answer.argmax(axis=1))),
        "log_loss": Metric(
            "log loss", lambda truth, answer: _sklearn().log_loss(truth, answer, labels=range(answer.shape[1]))
        ),
        "balanced_accuracy": Metric(
            "balanced accuracy", lambda truth, answer: _macro("recall_score", truth, answer.argmax(axis=1))
        ),
        "f1_macro": Metric("F1 (macro)", lambda truth, answer: _macro("f1_score", truth, answer.argmax(axis=1))),
    }
    selected_by = "log_loss"
    target_types = ("integer", "string")

    def target(self, column: "pd.Series") -> "np.ndarray":
        """Returns the classes as they are; none may be missing."""
        import numpy as np

        if column.isna().any():
            raise DataError(f"target {column.name!r}: {int(column.isna().sum()):,} rows have no class; leave them out")
        return np.asarray(column.to_list())

    def truth(self, target: "np.ndarray", classes: Sequence[Any]) -> "np.ndarray":
        """Returns each row's place among the classes.

        Raises:
            DataError: a class that no model knows.
        """
        import numpy as np

        known = np.asarray(classes)
        unknown = np.setdiff1d(target, known)
        if len(unknown):
            raise DataError(
                f"{int(np.isin(target, unknown).sum()):,} rows have classes that no training row has: "
                f"{first_few(unknown.tolist())}; known: {first_few(known.tolist(), 12)}; widen the split"
            )
        return np.searchsorted(known, target)

    def answer(self, estimator: Any, features: "pd.DataFrame") -> "np.ndarray":
        """Asks for the probabilities of all classes."""
        probabilities: np.ndarray = estimator.predict_proba(features)
        return probabilities

    def losses(self, truth: "np.ndarray", answer: "np.ndarray") -> "np.ndarray":
        """Returns each row's log loss."""
        import numpy as np

        return _log_losses(answer[np.arange(len(truth)), truth])

    def group(self, truth: "np.ndarray", answer: "np.ndarray") -> dict[str, float | None]:
        """Returns the scores."""
        scores = self.score(truth, answer)
        return {"accuracy": scores["accuracy"], "log_loss": scores["log_loss"]}

    def columns(self, target: str, answer: "np.ndarray", classes: Sequence[Any], threshold: Any) -> dict[str, Any]:
        """Returns `predicted_<target>` and a `probability_<class>` for each."""
        import numpy as np

        said = np.asarray(classes)[answer.argmax(axis=1)]
        return {f"predicted_{target}": said, **{f"probability_{one}": answer[:, i] for i, one in enumerate(classes)}}

    def answer_in(self, frame: "pd.DataFrame", target: str, classes: Sequence[Any]) -> "np.ndarray":
        """Takes the probabilities."""
        return frame[[f"probability_{one}" for one in classes]].to_numpy()


class Regression(Task):
    """How much: a number. The answer is a number, shape (rows,)."""

    # Errors are in the target's unit.
    metrics: ClassVar[Mapping[str, Metric]] = {
        "rmse": Metric("RMSE", lambda truth, answer: _sklearn().root_mean_squared_error(truth, answer)),
        "mae": Metric("MAE", lambda truth, answer: _sklearn().mean_absolute_error(truth, answer)),
        "r2": Metric("R²", lambda truth, answer: _sklearn().r2_score(truth, answer)),
    }
    selected_by = "rmse"
    asks = "predict"
    target_types = ("number", "integer")

    def target(self, column: "pd.Series") -> "np.ndarray":
        """Returns numbers; none may be missing or infinite."""
        import numpy as np

        values = column.to_numpy(dtype="float64", na_value=np.nan)
        bad = int((~np.isfinite(values)).sum())
        if bad:
            raise DataError(
                f"target {column.name!r}: {bad:,} of {len(values):,} rows are missing or infinite; leave them out"
            )
        return values

    def answer(self, estimator: Any, features: "pd.DataFrame") -> "np.ndarray":
        """Asks for the number."""
        import numpy as np

        return np.asarray(estimator.predict(features), dtype="float64").reshape(len(features))

    def classes(self, estimator: Any) -> list[Any]:
        """Has none."""
        return []

    def losses(self, truth: "np.ndarray", answer: "np.ndarray") -> "np.ndarray":
        """Returns each row's squared error."""
        squared: np.ndarray = (truth - answer) ** 2
        return squared

    def group(self, truth: "np.ndarray", answer: "np.ndarray") -> dict[str, float | None]:
        """Returns means and errors."""
        import numpy as np

        errors = truth - answer
        return {
            "mean": float(truth.mean()),
            "mean_predicted": float(answer.mean()),
            "rmse": float(np.sqrt((errors**2).mean())),
            "mae": float(np.abs(errors).mean()),
        }

    def about(self, target: "np.ndarray") -> dict[str, Any]:
        """Returns mean and standard deviation."""
        return {"mean_test": float(target.mean()), "std_test": float(target.std())}

    def columns(self, target: str, answer: "np.ndarray", classes: Sequence[Any], threshold: Any) -> dict[str, Any]:
        """Returns `predicted_<target>`."""
        return {f"predicted_{target}": answer}

    def answer_in(self, frame: "pd.DataFrame", target: str, classes: Sequence[Any]) -> "np.ndarray":
        """Takes the number."""
        return frame[f"predicted_{target}"].to_numpy()


def _log_losses(of_the_truth: "np.ndarray") -> "np.ndarray":
    """Returns each row's log loss from the probability that was given to what was true, as scikit-learn clips it."""
    import numpy as np

    losses: np.ndarray = -np.log(np.clip(of_the_truth, np.finfo("float64").eps, 1.0))
    return losses


TASKS: Mapping[str, Task] = {"binary": Binary(), "multiclass": Multiclass(), "regression": Regression()}
