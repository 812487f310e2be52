"""An evaluation to change for a test."""

from typing import Any

from ml_platform.evaluation import Evaluation


def evaluation(**changes: Any) -> Evaluation:
    known: dict[str, Any] = {
        "pipeline": "a", "description": "", "task": "binary", "target": "late", "key": ["flight"], "features": ["hour"],
        "split": {}, "rows_train": 9, "rows_test": 3, "selected_by": "log_loss", "best": "m", "threshold": 0.5,
        "classes": [0, 1], "metric_names": ["roc_auc", "log_loss"], "metrics": {"roc_auc": 0.7, "log_loss": 0.45},
        "target_facts": {"rate_test": 0.2}, "confusion": None, "by": {}, "gates": [], "data_test": {},
    }  # fmt: skip
    known |= changes
    model = {"class_name": "M", "digest": "d", "rows_train": 9, "validation": 0.4, "metrics": known["metrics"]}
    return Evaluation(**{"models": {"m": model}, **known})
