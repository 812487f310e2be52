import pandas as pd
import pytest

from ml_platform import DataTransformer
from ml_platform.errors import DataError
from ml_platform.schema import Schema, frame_schema
from ml_platform.transformers import AsOfLookup, Calendar, Codes, FillMissing, Frequencies, Lag, RareCategories, Rolling
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


AT = pd.to_datetime(["2013-01-01 05:00", "2013-01-01 06:00"])
FRAME = pd.DataFrame({
    "at": AT, "kind": ["a", "b"], "size": [1.0, 2.0], "hour_of_day": 0, "size_before": 0.0, "size_mean_3h": 0.0,
    "kind_share": 0.0, "kind_code": 0, "size_missing": False, "kind_rare": "x", "temp": 0.0,
})  # fmt: skip


@pytest.mark.parametrize(
    ("step", "name"),
    [
        (Calendar("at", ["hour_of_day"]), "hour_of_day"),
        (Lag(["size"], by=["kind"], on="at", within_hours=3), "size_before"),
        (Lag(["size"], by=["kind"], on="at", within_hours=3, suffix=""), "size"),
        (Rolling(["size"], by=["kind"], on="at", hours=3), "size_mean_3h"),
        (Frequencies(["kind"]), "kind_share"),
        (Codes(["kind"]), "kind_code"),
        (FillMissing(["size"]), "size_missing"),
        (RareCategories(["kind"], suffix="_rare"), "kind_rare"),
    ],
)
def test_no_step_writes_over_a_column_that_it_did_not_declare_to_replace(step: DataTransformer, name: str) -> None:
    message = f"it would add a column '{name}', which the frame has already; rename one of them before"
    with pytest.raises(DataError, match=message):
        step.output_schema(frame_schema(FRAME))
    with pytest.raises(DataError, match=message):
        step.fit(FRAME).transform(FRAME)


def test_a_look_up_writes_over_nothing() -> None:
    step = AsOfLookup("at", ["kind"], ["temp"])
    with pytest.raises(DataError, match="it would add a column 'temp', which the frame has already"):
        step.transform(FRAME, weather=FRAME)


def test_a_category_of_the_name_of_the_rare_ones_is_refused() -> None:
    frame = pd.DataFrame({"kind": ["other"] * 5 + ["a"] * 5 + ["b"]})
    with pytest.raises(DataError, match="column 'kind' has a category 'other' of its own"):
        RareCategories(["kind"], min_frequency=0.2).fit(frame)
    assert RareCategories(["kind"], min_frequency=0.2, other="rest").fit_transform(frame)["kind"].tolist()[-1] == "rest"
