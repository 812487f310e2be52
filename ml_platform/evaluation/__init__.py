"""How good a model is, in numbers, pictures and one page; and whether that is good enough."""

from ml_platform.evaluation.evaluating import evaluate
from ml_platform.evaluation.gates import GateResult, judge, require_passed
from ml_platform.evaluation.scoring import predict_partitions

__all__ = ["GateResult", "evaluate", "judge", "predict_partitions", "require_passed"]
