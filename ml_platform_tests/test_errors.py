"""Errors keep what they tell when the asset is named in them."""

import pytest

from ml_platform.errors import ArtifactError, Problem, RowsRefused, SpecError, naming


def test_a_refusal_is_named_with_all_that_it_tells() -> None:
    with (
        pytest.raises(RowsRefused, match=r"^shop/clean\[2013\]: two rows get no answer") as refused,
        naming("shop/clean", "2013"),
    ):
        raise RowsRefused("two rows get no answer", "clean", [1, 2])
    assert (refused.value.step, refused.value.rows) == ("clean", [1, 2])


def test_problems_of_a_declaration_stay() -> None:
    problem = Problem("a.yaml", 3, "no such column")
    with pytest.raises(SpecError, match=r"^shop/clean: a.yaml:3: no such column") as refused, naming("shop/clean"):
        raise SpecError([problem])
    assert refused.value.problems == [problem]


def test_errors_of_others_are_left_what_they_are() -> None:
    with pytest.raises(KeyError) as raised, naming("shop/clean"):
        raise KeyError("x")
    assert raised.value.__notes__ == ["while making shop/clean"]


def test_an_error_without_a_constructor_of_its_own() -> None:
    with pytest.raises(ArtifactError, match=r"^a: gone$"), naming("a"):
        raise ArtifactError("gone")
