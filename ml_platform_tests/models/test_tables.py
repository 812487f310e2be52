import numpy as np
import pandas as pd
import pytest

from ml_platform.errors import DataError
from ml_platform.models import EntityEmbeddingClassifier, EntityEmbeddingRegressor

FLIGHTS = pd.DataFrame({"dest": ["BOS", "ORD", "SFO", None] * 25, "code": [0, 1, 2, 1] * 25,
                        "hour": range(100), "wind": [1.0, 3.0, None, 5.0] * 25})  # fmt: skip
LATE = FLIGHTS["code"] == 1


def fitted(flights: pd.DataFrame = FLIGHTS, **parameters: object) -> EntityEmbeddingClassifier:
    given = {"categorical": ["dest", "code"], "hidden_layer_sizes": (8,), "max_iter": 2, "random_state": 0}
    return EntityEmbeddingClassifier(**{**given, **parameters}).fit(flights, LATE)


@pytest.fixture(scope="module")
def model() -> EntityEmbeddingClassifier:
    return fitted()


def test_it_learns_categories_and_numbers_of_the_training_rows(model: EntityEmbeddingClassifier) -> None:
    assert model.categories_ == [["BOS", "ORD", "SFO"], [0, 1, 2]]
    assert (model.numeric_, model.medians_, model.indicated_) == (["hour", "wind"], [49.5, 3.0], [1])
    np.testing.assert_allclose(model.means_, [49.5, 3.0])


def test_unknown_and_missing_categories_share_an_index_of_their_own(model: EntityEmbeddingClassifier) -> None:
    asked = FLIGHTS[:4].assign(dest=["SFO", "XXX", None, "BOS"], code=[2, -1, 7, 0])
    assert model._inputs(asked)[0].tolist() == [[3, 3], [0, 0], [0, 0], [1, 1]]
    known, unknown, other = (model.predict_proba(asked[1:2].assign(dest=dest)) for dest in ("SFO", "XXX", "YYY"))
    np.testing.assert_array_equal(unknown, other)
    assert (known != unknown).any()


def test_a_missing_number_is_the_median_and_said_to_be_missing(model: EntityEmbeddingClassifier) -> None:
    numbers = model._inputs(FLIGHTS[:4])[1].numpy()
    assert numbers[:, 2].tolist() == [0, 0, 1, 0]
    assert numbers[2, 1] == 0.0  # the median is the mean here
    everything_missing = FLIGHTS[:2].assign(hour=np.nan, wind=np.nan)
    assert np.isfinite(model.predict_proba(everything_missing)).all()


def test_a_column_that_is_empty_or_constant_is_no_trouble() -> None:
    flights = FLIGHTS.assign(empty=np.nan, constant=7, nothing=pd.Series([None] * 100, dtype="object"))
    model = fitted(flights, categorical=["dest", "nothing"])
    assert model.categories_[1] == []
    assert np.isfinite(model.predict_proba(flights)).all()


@pytest.mark.parametrize(
    "codes",
    [FLIGHTS["code"].astype(float), FLIGHTS["code"].astype("Int64"), FLIGHTS["code"].astype("category"),
     FLIGHTS["code"].astype("int8"), FLIGHTS["code"].astype(object)],
    ids=lambda codes: str(codes.dtype),
)  # fmt: skip
def test_codes_are_the_same_whatever_holds_them(model: EntityEmbeddingClassifier, codes: pd.Series) -> None:
    changed = FLIGHTS.assign(code=codes)
    np.testing.assert_array_equal(model.predict_proba(changed), model.predict_proba(FLIGHTS))
    assert fitted(changed).categories_ == model.categories_


@pytest.mark.parametrize("kind", ["object", "category"])
def test_strings_are_the_same_whatever_holds_them(model: EntityEmbeddingClassifier, kind: str) -> None:
    changed = FLIGHTS.assign(dest=FLIGHTS["dest"].astype(kind))
    np.testing.assert_array_equal(model.predict_proba(changed), model.predict_proba(FLIGHTS))


def test_columns_are_found_by_name_in_any_order(model: EntityEmbeddingClassifier) -> None:
    turned = FLIGHTS[FLIGHTS.columns[::-1]].assign(more=1)
    np.testing.assert_array_equal(model.predict_proba(turned), model.predict_proba(FLIGHTS))


def test_booleans_and_nullable_numbers_are_numbers() -> None:
    flights = FLIGHTS.assign(night=FLIGHTS["hour"] > 50, seats=FLIGHTS["wind"].astype("Float64"))
    assert fitted(flights).numeric_ == ["hour", "wind", "night", "seats"]


def test_tables_of_numbers_or_of_categories_alone_can_be_learnt() -> None:
    assert fitted(FLIGHTS[["hour"]], categorical=()).predict_proba(FLIGHTS[["hour"]]).shape == (100, 2)
    assert fitted(FLIGHTS[["dest"]], categorical=["dest"]).predict_proba(FLIGHTS[["dest"]]).shape == (100, 2)


def test_a_table_without_names_can_be_learnt() -> None:
    values = FLIGHTS[["code", "hour"]].to_numpy()
    model = fitted(values, categorical=[])
    assert not hasattr(model, "feature_names_in_")
    assert model.predict(values).shape == (100,)
    with pytest.raises(DataError, match="3 columns; expected 2, as in training"):
        model.predict(np.zeros((4, 3)))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"hour": "noon"}, r"column 'hour' is (str|object); expected numbers; name it in categorical \(dest, code\)"),
        ({"hour": pd.Timestamp("2013-01-01")}, "column 'hour' is datetime64"),
        ({"hour": np.inf}, "column 'hour' holds infinite numbers"),
        ({"code": 0.5}, "column 'code' holds 0.5; a category is a string or a whole number"),
        ({"code": pd.Timestamp("2013-01-01")}, "column 'code' is datetime64.*; expected strings or whole numbers"),
    ],
)
def test_a_column_of_the_wrong_kind_is_refused(model: EntityEmbeddingClassifier, change: dict, told: str) -> None:
    for do in (fitted, model.predict_proba):
        with pytest.raises(DataError, match=f"EntityEmbeddingClassifier: {told}"):
            do(FLIGHTS.assign(**change))


def test_a_category_of_another_kind_than_in_training_is_refused(model: EntityEmbeddingClassifier) -> None:
    with pytest.raises(DataError, match="column 'dest' is int64; expected strings, as in training"):
        model.predict(FLIGHTS.assign(dest=3))
    with pytest.raises(DataError, match="column 'code' is str; expected whole numbers, as in training"):
        model.predict(FLIGHTS.assign(code="3"))


def test_a_column_that_is_not_there_is_named(model: EntityEmbeddingClassifier) -> None:
    with pytest.raises(DataError, match="EntityEmbeddingClassifier: no column 'wind'"):
        model.predict(FLIGHTS.drop(columns="wind"))
    with pytest.raises(DataError, match="EntityEmbeddingClassifier: no column 'dests'; did you mean 'dest'"):
        fitted(categorical=["dests"])


def test_a_regressor_refuses_a_target_that_is_no_number() -> None:
    with pytest.raises(DataError, match="EntityEmbeddingRegressor: the target is object"):
        EntityEmbeddingRegressor(["dest"]).fit(FLIGHTS, FLIGHTS["dest"].fillna("-"))
