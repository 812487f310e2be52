"""Private names of scikit-learn that the platform relies on, re-exported in one place."""

from typing import Any

# What it says of a parameter that breaks its own constraints.
from sklearn.utils._param_validation import InvalidParameterError

# The boxes of an estimator's picture in a notebook.
from sklearn.utils._repr_html.estimator import _VisualBlock

__all__ = ["InvalidParameterError", "_VisualBlock", "validate_parameters"]


def validate_parameters(estimator: Any) -> None:
    """Compares an estimator's parameters with the constraints that it declares, if it does, before it is fitted.

    Raises:
        InvalidParameterError: one breaks its constraints.
    """
    if hasattr(estimator, "_parameter_constraints"):
        estimator._validate_params()
