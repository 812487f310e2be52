"""Evaluates models: selection, metrics, gates, pictures, one report, and the approval that follows."""

from ml_platform.evaluation.approval import approve
from ml_platform.evaluation.evaluator import evaluate
from ml_platform.evaluation.gates import check_gates, require_passed
from ml_platform.evaluation.report_schemas import Approval, Evaluation, Selection
from ml_platform.evaluation.selection import select_best

__all__ = ["Approval", "Evaluation", "Selection", "approve", "check_gates", "evaluate", "require_passed", "select_best"]
