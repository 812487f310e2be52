"""Schemas in their short form."""

import pandas as pd
import pytest

from ml_platform.schema import Schema


def test_a_schema_survives_json_in_order() -> None:
    schema = Schema.of(b="number? 0..1", a="integer -3..5", c="string", t="timestamp?")
    assert Schema.from_json(schema.to_json()) == schema


@pytest.mark.parametrize(
    ("declaration", "message"),
    [("intger", "did you mean 'integer'"), ("integer?", "declare number?"), ("number 1-2", "Expected one of")],
)
def test_a_wrong_declaration_is_refused(declaration: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"column 'x': .*{message}".replace("?", r"\?")):
        Schema.of(x=declaration)


def test_every_violation_is_told_with_its_rows() -> None:
    schema = Schema.of(hour="integer 0..23", name="string")
    found = schema.violations(pd.DataFrame({"hour": [1, 27, 99], "name": ["a", None, "c"]}))
    assert len(found) == 2
    assert any("'hour'" in line and "27, 99 in 2 rows (first: 1, 2)" in line for line in found)
    assert any("'name'" in line and "in 1 rows (first: 1)" in line for line in found)


def test_a_frame_that_keeps_its_schema_has_no_violation() -> None:
    schema = Schema.of(hour="integer 0..23", share="number? 0..1")
    assert schema.violations(pd.DataFrame({"hour": [0, 23], "share": [None, 1.0]})) == []


def test_a_missing_column_is_a_violation() -> None:
    schema = Schema.of(hour="integer 0..23", name="string")
    assert schema.violations(pd.DataFrame({"hour": [1]})) == ["column 'name' is missing"]
    assert len(schema.violations(pd.DataFrame({"hour": [27]}))) == 2
