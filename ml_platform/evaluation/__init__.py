"""How models are judged: metrics, gates, pictures, one report, and the approval that follows."""

from ml_platform.evaluation.approval import approve
from ml_platform.evaluation.evaluator import evaluate
from ml_platform.evaluation.gates import judge, require_passed

__all__ = ["approve", "evaluate", "judge", "require_passed"]
