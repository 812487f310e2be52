"""What do a model's probabilities look like?"""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

INK = "#334155"
BEST = "#2563eb"
OTHERS = ("#f59e0b", "#10b981", "#a855f7", "#64748b", "#ef4444")
DPI = 110


def draw_all(facts: Mapping[str, Any], target: np.ndarray, guesses: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    """Draws every picture of an evaluation.

    Returns:
        PNG by name: `roc`, `calibration`, `confusion`, and `by_<column>` for each breakdown.
    """
    best = facts["best"]
    colors = {best: BEST, **dict(zip((name for name in guesses if name != best), OTHERS, strict=False))}
    pictures = {
        "roc": _draw(lambda axes: _roc(axes, facts, target, guesses, colors)),
        "calibration": _draw(lambda axes: _calibration(axes, target, guesses, colors)),
        "confusion": _draw(lambda axes: _confusion(axes, facts["confusion"], facts["target"])),
    }
    for column, rows in facts["by"].items():
        pictures[f"by_{column}"] = _draw_breakdown(column, rows)
    return pictures


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
    facts: Mapping[str, Any],
    target: np.ndarray,
    guesses: Mapping[str, np.ndarray],
    colors: Mapping[str, str],
) -> None:
    from sklearn.metrics import roc_curve

    for name, guess in guesses.items():
        false_rate, true_rate, _ = roc_curve(target, guess)
        label = f"{name} (AUC {facts['models'][name]['roc_auc']:.3f})"
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


def _confusion(axes: Any, counts: Mapping[str, Any], target: str) -> None:
    grid = np.array(
        [
            [counts["true_negatives"], counts["false_positives"]],
            [counts["false_negatives"], counts["true_positives"]],
        ]
    )
    axes.imshow(grid, cmap="Blues", vmin=0)
    for (row, column), count in np.ndenumerate(grid):
        color = "white" if count > grid.max() / 2 else INK
        axes.text(column, row, f"{count:,}", ha="center", va="center", color=color, fontsize=14)
    axes.set_xticks([0, 1], [f"not {target}", target])
    axes.set_yticks([0, 1], [f"not {target}", target], rotation=90, va="center")
    axes.set(xlabel="predicted", ylabel="true", title=f"Confusion at {counts['threshold']:.3f}")


def _draw_breakdown(column: str, rows: Sequence[Mapping[str, Any]]) -> bytes:
    figure, (left, right) = _figure(columns=2, width=8.4)
    places = np.arange(len(rows))
    known = [row for row in rows if row["roc_auc"] is not None]
    left.bar([row["value"] for row in known], [row["roc_auc"] for row in known], color=BEST)
    left.axhline(0.5, color="#cbd5e1", linestyle="--")
    left.set(ylim=(0.4, 1.0), title=f"AUC by {column}", xlabel=column)
    for bar, row in zip(left.patches, known, strict=True):
        left.annotate(
            f"{row['roc_auc']:.3f}",
            (bar.get_x() + bar.get_width() / 2, bar.get_height()),
            ha="center",
            va="bottom",
            fontsize=8,
        )
    right.bar(places - 0.2, [row["rate"] for row in rows], width=0.4, color="#94a3b8", label="happened")
    right.bar(places + 0.2, [row["mean_probability"] for row in rows], width=0.4, color=BEST, label="predicted")
    right.set_xticks(places, [row["value"] for row in rows])
    right.set(title=f"Rate by {column}", xlabel=column)
    right.legend(frameon=False, fontsize=9)
    return _png(figure)
