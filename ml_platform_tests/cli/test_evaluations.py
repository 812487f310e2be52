"""What was evaluated is printed, also if an earlier version of the platform did it."""

import io
from pathlib import Path

from rich.console import Console

from ml_platform.artifacts import ArtifactStore, Report
from ml_platform.artifacts.reports import KIND, write_report
from ml_platform.cli.evaluations import last_evaluation, print_evaluation


def test_an_evaluation_from_before_there_were_tasks_is_read(tmp_path: Path) -> None:
    scores = {"roc_auc": 0.7, "log_loss": 0.45, "brier_score": 0.14, "average_precision": 0.36}
    gate = {"name": "good", "metric": "roc_auc", "value": 0.7, "bound": "≥ 0.6", "passed": True, "why": ""}
    facts = {
        "pipeline": "p",
        "best": "m",
        **scores,
        "models": {"m": scores},
        "gates": [gate],
        "rows_train": 9,
        "rows_test": 3,
    }
    store = ArtifactStore(str(tmp_path))
    store.promote([store.add("p/evaluation", None, KIND, lambda folder: write_report(folder, Report(facts, page="")))])
    console = Console(file=io.StringIO(), width=120)
    print_evaluation(last_evaluation("p", store), console)
    shown = console.file.getvalue()
    assert "chosen by log loss" in shown
    assert "0.7000" in shown
