"""Compares a model's metrics with the gates that it must pass: good enough, and not too good to be true."""

from collections.abc import Mapping

from ml_platform.errors import GateError
from ml_platform.evaluation.report_schemas import Evaluation, GateResult
from ml_platform.pipeline.spec import Gate


def check_gates(gates: Mapping[str, Gate], metrics: Mapping[str, float]) -> list[GateResult]:
    """Compares the best model's metrics with each gate."""
    return [_check_gate(name, gate, metrics[gate.metric]) for name, gate in gates.items()]


def _check_gate(name: str, gate: Gate, value: float) -> GateResult:
    if gate.at_least is not None:
        bound, passed = f"≥ {gate.at_least:g}", value >= gate.at_least
    else:
        assert gate.at_most is not None
        bound, passed = f"≤ {gate.at_most:g}", value <= gate.at_most
    return GateResult(name=name, metric=gate.metric, value=value, bound=bound, passed=passed, why=gate.why)


def require_passed(gates: Mapping[str, Gate], evaluation: Evaluation) -> None:
    """Judges a stored evaluation by the gates that are declared now.

    Raises:
        GateError: names each failed gate, the value found and the bound.
    """
    failed = [gate for gate in check_gates(gates, evaluation.metrics) if not gate.passed]
    if failed:
        reasons = "; ".join(
            f"{gate.name}: {gate.metric} is {gate.value:.4f}, expected {gate.bound}"
            + (f" ({gate.why})" if gate.why else "")
            for gate in failed
        )
        raise GateError(f"model {evaluation.best!r} of {evaluation.pipeline} is not approved: {reasons}")
