"""What do the probabilities of a model say, in numbers?"""

from typing import Any

import numpy as np
import pandas as pd


def score(target: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """Scores probabilities in [0, 1] against 0 and 1; definitions are scikit-learn's."""
    from sklearn import metrics

    return {
        "roc_auc": float(metrics.roc_auc_score(target, probability)),
        "log_loss": float(metrics.log_loss(target, probability, labels=[0, 1])),
        "brier_score": float(metrics.brier_score_loss(target, probability)),
        "average_precision": float(metrics.average_precision_score(target, probability)),
    }


def confusion(target: np.ndarray, probability: np.ndarray, threshold: float) -> dict[str, Any]:
    """Counts right and wrong answers at a threshold (at or above it is a yes)."""
    from sklearn.metrics import confusion_matrix

    (true_no, false_yes), (false_no, true_yes) = confusion_matrix(target, probability >= threshold, labels=[0, 1])
    return {
        "threshold": threshold,
        "true_negatives": int(true_no),
        "false_positives": int(false_yes),
        "false_negatives": int(false_no),
        "true_positives": int(true_yes),
        "precision": float(true_yes / max(true_yes + false_yes, 1)),
        "recall": float(true_yes / max(true_yes + false_no, 1)),
    }


def by_group(frame: pd.DataFrame, column: str, target: np.ndarray, probability: np.ndarray) -> list[dict[str, Any]]:
    """Scores each value of a column; a group with one class only has no AUC."""
    rows = []
    values: list[Any] = sorted(frame[column].dropna().unique())
    if frame[column].isna().any():
        values.append(None)
    for value in values:
        mask = (frame[column].isna() if value is None else frame[column] == value).to_numpy()
        truth, guess = target[mask], probability[mask]
        row = {
            "value": "missing" if value is None else str(value),
            "rows": int(mask.sum()),
            "rate": float(truth.mean()),
        }
        row["mean_probability"] = float(guess.mean())
        scores = score(truth, guess) if len(set(truth)) > 1 else {}
        rows.append(row | {"roc_auc": scores.get("roc_auc"), "log_loss": scores.get("log_loss")})
    return rows
