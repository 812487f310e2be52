import pandas as pd
import pytest

from ml_platform.errors import DataError
from ml_platform.schema import Schema
from ml_platform.transformers.columns import require_no_clash, require_typed

SCHEMA = Schema.of(a="number", b="string")


@pytest.mark.parametrize("given", [SCHEMA, pd.DataFrame({"a": [1.0], "b": ["x"]})], ids=["a schema", "a frame"])
def test_what_is_not_there_or_of_another_type_is_refused_by_name(given: Schema | pd.DataFrame) -> None:
    require_typed(given, ["a"], "integer|number", "Step")
    with pytest.raises(DataError, match="Step: no column 'c'"):
        require_typed(given, ["c"], "number", "Step")
    with pytest.raises(DataError, match="Step: column 'b' is string; expected integer or number"):
        require_typed(given, ["b"], "integer|number", "Step")


def test_a_text_is_no_list_of_columns() -> None:
    with pytest.raises(DataError, match=r"Step: expected a list of columns, found 'ab'; write \['ab'\]"):
        require_typed(SCHEMA, "ab", "string", "Step")


def test_what_an_open_schema_does_not_tell_is_not_refused() -> None:
    require_typed(Schema(is_open=True), ["c"], "number", "Step")


@pytest.mark.parametrize(("added", "why"), [(["a"], "the frame has already"), (["c", "c"], "it gives twice")])
def test_a_name_that_is_taken_is_refused(added: list[str], why: str) -> None:
    with pytest.raises(DataError, match=f"Step: it would add a column '{added[0]}', which {why}"):
        require_no_clash(added, ["a"], "Step")
