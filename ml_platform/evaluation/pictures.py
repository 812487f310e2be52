"""Draws an evaluation: curves, confusion, errors and breakdowns, as PNG."""

import io
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np

from ml_platform.evaluation.report_schemas import Confusion, ConfusionOfClasses, Evaluation, Group
from ml_platform.tasks import label_of

INK = "#334155"
BEST = "#2563eb"
OTHERS = ("#f59e0b", "#10b981", "#a855f7", "#64748b", "#ef4444")
DPI = 110
MOST_WITH_NUMBERS = 12


def draw_all(evaluation: Evaluation, truth: np.ndarray, answers: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    """Draws every picture of an evaluation.

    Returns:
        PNG by name: `roc`, `calibration` and `confusion` for two classes, `confusion` and `models` for several,
        `predicted` and `errors` for numbers, and `by_<column>` for each breakdown.
    """
    best = evaluation.best
    others = zip((name for name in answers if name != best), cycle(OTHERS), strict=False)
    pictures = _DRAWN[evaluation.task](evaluation, truth, answers, {best: BEST, **dict(others)})
    for column, groups in evaluation.by.items():
        pictures[f"by_{column}"] = _draw_breakdown(column, groups)
    return pictures


def _draw_binary(
    evaluation: Evaluation, truth: np.ndarray, answers: Mapping[str, np.ndarray], colors: Mapping[str, str]
) -> dict[str, bytes]:
    return {
        "roc": _draw(lambda axes: _roc(axes, evaluation, truth, answers, colors)),
        "calibration": _draw(lambda axes: _calibration(axes, truth, answers, colors)),
        "confusion": _draw(lambda axes: _confusion(axes, evaluation)),
    }


def _draw_multiclass(
    evaluation: Evaluation, truth: np.ndarray, answers: Mapping[str, np.ndarray], colors: Mapping[str, str]
) -> dict[str, bytes]:
    return {
        "confusion": _draw(lambda axes: _confusion_of_classes(axes, evaluation)),
        "models": _draw(lambda axes: _accuracies(axes, evaluation, colors)),
    }


def _draw_regression(
    evaluation: Evaluation, truth: np.ndarray, answers: Mapping[str, np.ndarray], colors: Mapping[str, str]
) -> dict[str, bytes]:
    return {
        "predicted": _draw(lambda axes: _predicted(axes, evaluation.target, truth, answers, colors)),
        "errors": _draw(lambda axes: _errors(axes, evaluation.target, truth, answers, colors)),
    }


_DRAWN = {"binary": _draw_binary, "multiclass": _draw_multiclass, "regression": _draw_regression}


def _figure(columns: int = 1, width: float = 5.2) -> tuple[Any, Sequence[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, 4.2), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.tick_params(colors=INK)
    return figure, axes


def _png(figure: Any) -> bytes:
    content = io.BytesIO()
    # No software name and version: equal pictures are equal bytes.
    figure.savefig(content, format="png", dpi=DPI, metadata={"Software": None})
    return content.getvalue()


def _draw(draw: Callable[[Any], None]) -> bytes:
    figure, (axes,) = _figure()
    draw(axes)
    return _png(figure)


def _roc(
    axes: Any,
    evaluation: Evaluation,
    target: np.ndarray,
    guesses: Mapping[str, np.ndarray],
    colors: Mapping[str, str],
) -> None:
    from sklearn.metrics import roc_curve

    for name, guess in guesses.items():
        false_rate, true_rate, _ = roc_curve(target, guess)
        label = f"{name} (AUC {evaluation.models[name].metrics['roc_auc']:.3f})"
        axes.plot(false_rate, true_rate, color=colors[name], label=label)
    axes.plot([0, 1], [0, 1], color="#cbd5e1", linestyle="--", label="by chance")
    axes.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC", aspect="equal")
    axes.legend(loc="lower right", frameon=False, fontsize=9)


def _calibration(axes: Any, target: np.ndarray, guesses: Mapping[str, np.ndarray], colors: Mapping[str, str]) -> None:
    from sklearn.calibration import calibration_curve

    highest = 0.0
    for name, guess in guesses.items():
        happened, said = calibration_curve(target, guess, n_bins=10, strategy="quantile")
        axes.plot(said, happened, marker="o", markersize=4, color=colors[name], label=name)
        highest = max(highest, happened.max(), said.max())
    axes.plot([0, highest], [0, highest], color="#cbd5e1", linestyle="--", label="perfect")
    axes.set(xlabel="mean probability", ylabel="share that happened", title="Calibration (tenths of the rows)")
    axes.legend(loc="upper left", frameon=False, fontsize=9)


def _confusion(axes: Any, evaluation: Evaluation) -> None:
    counts, target = evaluation.confusion, evaluation.target
    assert isinstance(counts, Confusion)
    grid = np.array(
        [
            [counts.true_negatives, counts.false_positives],
            [counts.false_negatives, counts.true_positives],
        ]
    )
    axes.imshow(grid, cmap="Blues", vmin=0)
    for (row, column), count in np.ndenumerate(grid):
        color = "white" if count > grid.max() / 2 else INK
        axes.text(column, row, f"{count:,}", ha="center", va="center", color=color, fontsize=14)
    axes.set_xticks([0, 1], [f"not {target}", target])
    axes.set_yticks([0, 1], [f"not {target}", target], rotation=90, va="center")
    axes.set(xlabel="predicted", ylabel="true", title=f"Confusion at {counts.threshold:.3f}")


def _confusion_of_classes(axes: Any, evaluation: Evaluation) -> None:
    """Counts stand in the cells; mistakes are what is coloured, for right answers would drown them."""
    assert isinstance(evaluation.confusion, ConfusionOfClasses)
    counts, names = np.array(evaluation.confusion.counts), [str(name) for name in evaluation.classes]
    wrong = counts * (1 - np.eye(len(counts), dtype=int))
    axes.imshow(wrong, cmap="Reds", vmin=0, vmax=max(wrong.max(), 1))
    for (row, column), count in np.ndenumerate(counts):
        if count and len(counts) <= MOST_WITH_NUMBERS:
            color = "white" if wrong[row, column] > wrong.max() / 2 else INK
            axes.text(column, row, f"{count:,}", ha="center", va="center", color=color, fontsize=8)
    axes.set_xticks(range(len(names)), names, rotation=90 if max(map(len, names)) > 3 else 0)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted", ylabel="true", title=f"Confusion of {evaluation.best}, mistakes in red")


def _accuracies(axes: Any, evaluation: Evaluation, colors: Mapping[str, str]) -> None:
    names = sorted(evaluation.models, key=lambda name: evaluation.models[name].metrics["accuracy"])
    values = [evaluation.models[name].metrics["accuracy"] for name in names]
    bars = axes.barh(names, values, height=0.6, color=[colors[name] for name in names])
    axes.bar_label(bars, [f"{value:.4f}" for value in values], padding=-44, color="white")
    axes.set(title="Accuracy on the test rows", xlim=(0, 1), ylim=(-1, len(names)))


def _predicted(
    axes: Any, target: str, truth: np.ndarray, answers: Mapping[str, np.ndarray], colors: Mapping[str, str]
) -> None:
    """Tenths of the rows by what was said: what was true of each on average."""
    for name, answer in answers.items():
        parts = [part for part in np.array_split(np.argsort(answer, kind="stable"), 10) if len(part)]
        said, happened = [answer[part].mean() for part in parts], [truth[part].mean() for part in parts]
        axes.plot(said, happened, marker="o", markersize=4, color=colors[name], label=name)
    axes.axline((truth.mean(), truth.mean()), slope=1, color="#cbd5e1", linestyle="--", label="perfect")
    axes.set(
        xlabel=f"mean predicted {target}", ylabel=f"mean {target}", title="Predicted and true (tenths of the rows)"
    )
    axes.legend(loc="upper left", frameon=False, fontsize=9)


def _errors(
    axes: Any, target: str, truth: np.ndarray, answers: Mapping[str, np.ndarray], colors: Mapping[str, str]
) -> None:
    errors = {name: answer - truth for name, answer in answers.items()}
    low, high = np.percentile(np.concatenate(list(errors.values())), [1, 99])
    bins = np.linspace(low, high, 60) if low < high else np.linspace(low - 1, high + 1, 60)
    for name, values in errors.items():
        axes.hist(values, bins=bins, histtype="step", color=colors[name], label=name)
    axes.axvline(0, color="#cbd5e1", linestyle="--")
    axes.set(xlabel=f"predicted minus true {target} (middle 98 %)", ylabel="rows", title="Errors")
    axes.legend(frameon=False, fontsize=9)


def _draw_breakdown(column: str, groups: Sequence[Group]) -> bytes:
    """Draws how well each group is predicted and, where there are such, what was true and said of it on average."""
    metric = next(name for name in ("roc_auc", "accuracy", "rmse") if name in groups[0].figures)
    means = next(
        (pair for pair in (("rate", "mean_probability"), ("mean", "mean_predicted")) if pair[0] in groups[0].figures),
        (),
    )
    figure, axes = _figure(columns=2 if means else 1, width=8.4)
    _groups(axes[0], column, metric, [group for group in groups if group.figures[metric] is not None])
    if means:
        _means(axes[1], column, means, groups)
    return _png(figure)


def _groups(axes: Any, column: str, metric: str, groups: Sequence[Group]) -> None:
    bars = axes.bar([group.value for group in groups], [group.figures[metric] for group in groups], color=BEST)
    axes.bar_label(bars, [f"{group.figures[metric]:.3g}" for group in groups], fontsize=8)
    axes.set(title=f"{label_of(metric)} by {column}", xlabel=column)
    axes.tick_params(axis="x", rotation=90 if len(groups) > MOST_WITH_NUMBERS else 0)
    if metric == "roc_auc":
        axes.axhline(0.5, color="#cbd5e1", linestyle="--")
        axes.set_ylim(0.4, 1.0)


def _means(axes: Any, column: str, means: Sequence[str], groups: Sequence[Group]) -> None:
    places, (true, predicted) = np.arange(len(groups)), means
    axes.bar(places - 0.2, [group.figures[true] for group in groups], width=0.4, color="#94a3b8", label="happened")
    axes.bar(places + 0.2, [group.figures[predicted] for group in groups], width=0.4, color=BEST, label="predicted")
    axes.set_xticks(places, [group.value for group in groups], rotation=90 if len(groups) > MOST_WITH_NUMBERS else 0)
    axes.set(title=f"{true.capitalize()} by {column}", xlabel=column)
    axes.legend(frameon=False, fontsize=9)
