"""Plain scikit-learn transformers as steps."""

from pathlib import Path

import pandas as pd
import pytest

from ml_platform import DataTransformer
from ml_platform.artifacts import ArtifactStore, Frames
from ml_platform.artifacts.frames import write_frame
from ml_platform.errors import DataError, naming
from ml_platform.pipeline import load_pipeline
from ml_platform.pipeline.compiled import CompiledStep
from ml_platform.pipeline.spec import Step
from ml_platform.runtime.steps import check_inputs, plain_output_dtypes, refuse_other_keys, transform_frame, transformed
from ml_platform.schema import Schema
from ml_platform_tests.platform import YAML

FRAME = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"], "c": [3, 4]})


def step(uses: str, parameters: dict[str, object], **options: object) -> CompiledStep:
    use = Step.model_validate({"stage": "features", "inputs": ["t"], "uses": uses, "with": parameters, **options})
    from datetime import timedelta

    is_plain = uses.startswith("sklearn.")
    return CompiledStep(
        "s", "p/s", use, "row", ["k"], Schema(is_open=True), None, True, timedelta(0), None, is_plain, []
    )  # fmt: skip


def apply(folder: Path, compiled: CompiledStep, frame: pd.DataFrame = FRAME) -> pd.DataFrame:
    store = ArtifactStore(str(folder))
    store.promote([store.add("t", None, "frame", lambda place: write_frame(place, frame))])
    fitted = compiled.build().fit(frame[compiled.columns] if compiled.columns else frame)
    with naming(compiled.asset), transformed(compiled, fitted, [Frames.current(store, "t")]) as result:
        return result


def test_columns_are_changed_in_place_and_the_others_pass_through(tmp_path: Path) -> None:
    result = apply(tmp_path, step("sklearn.preprocessing.StandardScaler", {}, columns=["a"]))
    assert list(result.columns) == ["a", "b", "c"]
    assert result["a"].tolist() == [-1.0, 1.0]


def test_a_suffix_keeps_the_columns_and_names_the_results(tmp_path: Path) -> None:
    result = apply(tmp_path, step("sklearn.preprocessing.OrdinalEncoder", {}, columns=["b"], suffix="_code"))
    assert list(result.columns) == ["a", "b", "c", "b_code"]
    assert result["b_code"].tolist() == [0.0, 1.0]


def test_new_columns_have_scikit_learns_names(tmp_path: Path) -> None:
    uses = "sklearn.preprocessing.OneHotEncoder"
    result = apply(tmp_path, step(uses, {"sparse_output": False}, columns=["b"]))
    assert list(result.columns) == ["a", "c", "b_x", "b_y"]


def test_a_sparse_result_is_refused_with_the_parameter_to_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="p/s: a sparse result is no frame; set sparse_output: false"):
        apply(tmp_path, step("sklearn.preprocessing.OneHotEncoder", {}, columns=["b"]))


def test_a_missing_column_is_refused_before_any_work(tmp_path: Path) -> None:
    compiled = step("sklearn.preprocessing.StandardScaler", {}, columns=["a", "z"])
    store = ArtifactStore(str(tmp_path))
    store.promote([store.add("t", None, "frame", lambda place: write_frame(place, FRAME))])
    with pytest.raises(DataError, match="p/s: StandardScaler: no column 'z'"):
        check_inputs(compiled, compiled.build(), [Frames.current(store, "t")])


def test_nested_parts_and_functions_are_built_from_yaml(tmp_path: Path) -> None:
    parameters = {
        "transformers": [["log", {"uses": "sklearn.preprocessing.FunctionTransformer", "with": {"func": {"uses": "numpy.log1p"}}}, ["a"]]],
        "verbose_feature_names_out": False,
    }  # fmt: skip
    compiled = step("sklearn.compose.ColumnTransformer", parameters, columns=["a"])
    transformer = compiled.build()
    assert transformer.fit_transform(FRAME[["a"]])[0, 0] == pytest.approx(0.6931, abs=1e-4)


@pytest.mark.parametrize(
    ("uses", "parameters", "columns"),
    [
        ("sklearn.preprocessing.OrdinalEncoder", {}, ["b"]),
        ("sklearn.preprocessing.OneHotEncoder", {"sparse_output": False}, ["b"]),
        ("sklearn.preprocessing.StandardScaler", {}, ["a", "c"]),
        ("sklearn.impute.KNNImputer", {}, ["a", "c"]),
        ("sklearn.preprocessing.Normalizer", {}, ["a", "c"]),
    ],
)
def test_an_empty_frame_is_answered_with_the_columns_and_types_of_a_full_one(
    uses: str, parameters: dict[str, object], columns: list[str]
) -> None:
    compiled = step(uses, parameters, columns=columns)
    transformer = compiled.build()
    if transformer.__sklearn_tags__().requires_fit:
        transformer.fit(FRAME[columns])
    known = plain_output_dtypes(compiled, transformer, FRAME) if transformer.__sklearn_tags__().requires_fit else {}
    full = transform_frame(compiled, transformer, FRAME, {}, known)
    empty = transform_frame(compiled, transformer, FRAME[:0], {}, known)
    pd.testing.assert_frame_equal(empty, full[:0])


def test_an_empty_frame_of_a_declared_step_has_the_declared_columns() -> None:
    compiled = step("ml_platform.transformers.Calendar", {"column": "at"})
    frame = pd.DataFrame({"at": pd.to_datetime(["2013-01-01"]).as_unit("us"), "a": [1.0]})
    full = transform_frame(compiled, compiled.build(), frame, {})
    pd.testing.assert_frame_equal(transform_frame(compiled, compiled.build(), frame[:0], {}), full[:0])


def test_an_input_that_does_not_fit_is_refused_with_every_violation() -> None:
    compiled = step("ml_platform.transformers.Frequencies", {"columns": ["b", "d"]})
    with pytest.raises(DataError, match=r"the first input does not fit .*column 'd' is missing; column 'b': .*int64"):
        transform_frame(compiled, compiled.build(), FRAME.assign(b=[1, 2]), {})


class Dropping(DataTransformer):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X[:1]


def test_another_number_of_rows_than_declared_is_refused() -> None:
    compiled = step(f"{__name__}.Dropping", {})
    with pytest.raises(DataError, match="Dropping declares rows = 'preserve', but 2 rows came in and 1 out"):
        transform_frame(compiled, compiled.build(), FRAME, {})


def test_whatever_goes_wrong_names_the_value_that_was_being_made() -> None:
    with pytest.raises(ValueError, match="no such thing") as refused, naming("flights/shares", "2013-05-01"):
        raise ValueError("no such thing")
    assert refused.value.__notes__ == ["while making flights/shares[2013-05-01]"]


def test_a_step_that_would_change_its_rows_key_is_refused() -> None:
    step = load_pipeline(YAML).steps["shares"]
    frame = pd.DataFrame({"time_hour": [1, 2], "carrier": ["UA", "YV"], "flight": [1, 2]})
    refuse_other_keys(step, frame, frame.assign(share=1.0))
    told = "step 'shares' changes 'carrier', which is of its rows' key .* in 1 rows: 'YV' became 'other'; write"
    with pytest.raises(DataError, match=told):
        refuse_other_keys(step, frame, frame.assign(carrier=["UA", "other"]))
