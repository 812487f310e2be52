"""Is a model good enough, and not too good to be true?"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ml_platform.errors import GateError
from ml_platform.pipeline.spec import Gate


@dataclass(frozen=True)
class GateResult:
    """One gate, what was found, and whether it passed."""

    name: str
    metric: str
    value: float
    bound: str  # such as "≥ 0.695"
    passed: bool
    why: str

    def to_json(self) -> dict[str, Any]:
        """Gives plain JSON values."""
        return asdict(self)


def judge(gates: Mapping[str, Gate], metrics: Mapping[str, float]) -> list[GateResult]:
    """Compares the best model's metrics with each gate."""
    return [_judge_one(name, gate, metrics[gate.metric]) for name, gate in gates.items()]


def _judge_one(name: str, gate: Gate, value: float) -> GateResult:
    if gate.at_least is not None:
        return GateResult(name, gate.metric, value, f"≥ {gate.at_least:g}", value >= gate.at_least, gate.why)
    assert gate.at_most is not None
    return GateResult(name, gate.metric, value, f"≤ {gate.at_most:g}", value <= gate.at_most, gate.why)


def require_passed(gates: Mapping[str, Gate], evaluation: Mapping[str, Any]) -> None:
    """Judges a stored evaluation by the gates that are declared now.

    Raises:
        GateError: names each failed gate, the value found and the bound.
    """
    failed = [gate for gate in judge(gates, evaluation) if not gate.passed]
    if failed:
        reasons = "; ".join(
            f"{gate.name}: {gate.metric} is {gate.value:.4f}, expected {gate.bound}"
            + (f" ({gate.why})" if gate.why else "")
            for gate in failed
        )
        raise GateError(f"model {evaluation['best']!r} of {evaluation['pipeline']} is not approved: {reasons}")
