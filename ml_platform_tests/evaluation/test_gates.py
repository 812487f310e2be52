import pytest

from ml_platform.errors import GateError
from ml_platform.evaluation import check_gates, require_passed
from ml_platform.pipeline.spec import Gate
from ml_platform_tests.evaluation.examples import evaluation

METRICS = {"roc_auc": 0.7, "log_loss": 0.45, "brier_score": 0.1, "average_precision": 0.3}


@pytest.mark.parametrize(
    ("bound", "passed"),
    [
        ({"at_least": 0.7}, True),
        ({"at_least": 0.7001}, False),
        ({"at_most": 0.7}, True),
        ({"at_most": 0.6999}, False),
    ],
)
def test_a_bound_includes_its_own_value(bound: dict[str, float], passed: bool) -> None:
    (result,) = check_gates({"g": Gate(metric="roc_auc", **bound)}, METRICS)
    assert result.passed == passed


@pytest.mark.parametrize("bounds", [{}, {"at_least": 0.1, "at_most": 0.2}])
def test_a_gate_has_one_bound(bounds: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected either at_least or at_most"):
        Gate(metric="roc_auc", **bounds)


def test_a_failed_gate_is_refused_by_name_value_bound_and_reason() -> None:
    gates = {"g": Gate(metric="roc_auc", at_most=0.6, why="too good"), "h": Gate(metric="log_loss", at_most=1)}
    found = evaluation(pipeline="p", metrics=METRICS)
    with pytest.raises(
        GateError, match=r"model 'm' of p is not approved: g: roc_auc is 0.7000, expected ≤ 0.6 \(too good\)$"
    ):
        require_passed(gates, found)
    require_passed({"h": gates["h"]}, found)


def test_a_metric_that_is_no_number_passes_no_gate() -> None:
    nan = {**METRICS, "roc_auc": float("nan")}
    gates = {"low": Gate(metric="roc_auc", at_least=0.1), "high": Gate(metric="roc_auc", at_most=0.9)}
    assert [result.passed for result in check_gates(gates, nan)] == [False, False]
