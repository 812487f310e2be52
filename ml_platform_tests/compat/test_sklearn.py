"""What scikit-learn does not promise is as the platform needs it."""

import pytest
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression

from ml_platform.compat import sklearn
from ml_platform.runtime.parameters import NamedParts
from ml_platform_tests.compat.expecting import Expected, has, overrides, takes
from ml_platform_tests.conftest import run_python

EXPECTED = Expected(sklearn)


@pytest.mark.parametrize("name", sklearn.__all__)
def test_a_name_is_as_it_is_needed(name: str) -> None:
    EXPECTED.of[name]()


def test_something_is_expected_of_every_name() -> None:
    EXPECTED.is_complete()


def test_the_door_needs_no_other_library() -> None:
    code = "import sys, ml_platform.compat.sklearn; print({'dagster', 'dagster_k8s', 'torch'} & set(sys.modules))"
    assert run_python(code) == "set()"


def test_an_estimator_has_the_methods_that_ours_stand_over() -> None:
    overrides(NamedParts, BaseEstimator, "get_params set_params __sklearn_tags__")
    assert LogisticRegression._get_param_names() == sorted(LogisticRegression().get_params())
    has(BaseEstimator.__sklearn_tags__(BaseEstimator()), "estimator_type regressor_tags classifier_tags requires_fit")
    has(BaseEstimator, "__sklearn_clone__ _repr_html_")


@EXPECTED("InvalidParameterError", "validate_parameters")
def looking_at_parameters() -> None:
    sklearn.validate_parameters(LogisticRegression(C=2.0))
    sklearn.validate_parameters(object())  # which declares none
    with pytest.raises(sklearn.InvalidParameterError, match="'C'"):
        sklearn.validate_parameters(LogisticRegression(C=-1.0))


@EXPECTED("_VisualBlock")
def a_picture() -> None:
    takes(sklearn._VisualBlock, "kind", "estimators", named="names name_details name_caption dash_wrapped")

    class Drawn(BaseEstimator):
        def _sk_visual_block_(self) -> sklearn._VisualBlock:
            one = sklearn._VisualBlock(
                "single", LogisticRegression(), names="first", name_caption="Regression", name_details="of logits"
            )
            return sklearn._VisualBlock("serial", [one, sklearn._VisualBlock("parallel", [one])], dash_wrapped=False)

    shown = Drawn()._repr_html_inner()
    assert all(text in shown for text in ("first", "Regression", "of logits", "sk-parallel", "sk-serial"))
