import pytest

from ml_platform.artifacts import Fitted
from ml_platform.errors import ArtifactError
from ml_platform.evaluation import select_best
from ml_platform.tasks import TASKS

BINARY = TASKS["binary"]


def candidate(loss: float, as_of: str = "2014-01-01") -> Fitted:
    validation = {"log_loss": loss, "roc_auc": 0.7, "threshold": loss / 2, "rows": 10}
    return Fitted.of(None, {"validation": validation, "split": {"as_of": as_of}})


def test_the_lowest_log_loss_is_best_and_gives_its_threshold() -> None:
    report = select_best({"a": candidate(0.5), "b": candidate(0.4), "c": candidate(0.6)}, BINARY)
    assert report.facts["ranked"] == ["b", "a", "c"]
    assert (report.facts["best"], report.facts["threshold"]) == ("b", 0.2)


def test_equal_losses_are_ranked_by_name() -> None:
    assert select_best({"b": candidate(0.5), "a": candidate(0.5)}, BINARY).facts["best"] == "a"


def test_models_of_different_splits_are_not_compared() -> None:
    with pytest.raises(
        ArtifactError, match=r"trained for different splits: .*2013-10-01.*materialize them again together"
    ):
        select_best({"a": candidate(0.5), "b": candidate(0.4, "2013-10-01")}, BINARY)
