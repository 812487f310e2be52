"""What was evaluated is printed; what another version of the platform wrote is refused by name."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from ml_platform.artifacts import ArtifactStore, Report
from ml_platform.artifacts.reports import KIND, write_report
from ml_platform.cli.evaluations import last_evaluation, print_evaluation
from ml_platform.errors import ArtifactError
from ml_platform_tests.evaluation.examples import evaluation


def store_with(folder: Path, report: Report) -> ArtifactStore:
    store = ArtifactStore(str(folder))
    store.promote([store.add("p/evaluation", None, KIND, lambda place: write_report(place, report))])
    return store


def test_an_evaluation_is_printed(tmp_path: Path) -> None:
    gate = {"name": "good", "metric": "roc_auc", "value": 0.7, "bound": "≥ 0.6", "passed": True, "why": ""}
    store = store_with(tmp_path, Report(evaluation(pipeline="p", gates=[gate]).to_json(), page=""))
    console = Console(file=io.StringIO(), width=120)
    print_evaluation(last_evaluation("p", store), console)
    shown = console.file.getvalue()
    assert "chosen by log loss" in shown
    assert "0.7000" in shown
    assert "≥ 0.6 (good)" in shown


def test_an_evaluation_of_another_version_is_refused(tmp_path: Path) -> None:
    store = store_with(tmp_path, Report({"pipeline": "p", "best": "m", "roc_auc": 0.7}, page=""))
    message = "p/evaluation was written as version 1 of an evaluation; this platform reads version 2: materialize it"
    with pytest.raises(ArtifactError, match=message):
        last_evaluation("p", store)


def test_facts_of_something_else_are_refused(tmp_path: Path) -> None:
    store = store_with(tmp_path, Report({"version": 2, "best": "m"}, page=""))
    with pytest.raises(ArtifactError, match=r"p/evaluation is not an evaluation: .*\n?pipeline"):
        last_evaluation("p", store)
