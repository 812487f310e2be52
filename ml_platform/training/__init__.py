"""How a model is trained, and how the best of several is chosen."""

from ml_platform.training.models import train_model
from ml_platform.training.selection import select_best

__all__ = ["select_best", "train_model"]
