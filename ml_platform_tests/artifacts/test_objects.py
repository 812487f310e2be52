import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from ml_platform.artifacts import ArtifactStore
from ml_platform.artifacts.objects import FILE, read_object, stored_object, write_object
from ml_platform.errors import ArtifactError
from ml_platform_tests.conftest import run_python

X = np.random.default_rng(0).normal(size=(300, 4))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path))


def keep(store: ArtifactStore, estimator: object, trusted: tuple[str, ...] = ()):
    def write(folder: Path) -> dict[str, int]:
        write_object(folder, estimator, trusted)
        return {"rows": 300}

    return store.add("models/m", None, "sklearn", write)


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(StandardScaler(), LogisticRegression()),
        HistGradientBoostingClassifier(max_iter=5, random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_a_model_answers_equally_after_storage(store: ArtifactStore, model: BaseEstimator) -> None:
    model.fit(X, Y)
    loaded = stored_object(store, keep(store, model))
    np.testing.assert_array_equal(loaded.estimator.predict_proba(X), model.predict_proba(X))
    assert loaded.facts == {"rows": 300}


def test_strings_and_categories_are_kept(store: ArtifactStore) -> None:
    encoder = OneHotEncoder(sparse_output=False).fit(pd.DataFrame({"c": ["b", "a"]}))
    loaded = read_object(store, keep(store, encoder))
    assert loaded.get_feature_names_out().tolist() == ["c_a", "c_b"]


@pytest.mark.full
def test_equal_fits_are_equal_bytes_in_other_processes(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
import sys
from ml_platform_tests.artifacts.test_objects import *
folder = Path(sys.argv[1] if len(sys.argv) > 1 else {str(tmp_path)!r})
write_object(folder, HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(X, Y))
import hashlib; print(hashlib.sha256((folder / FILE).read_bytes()).hexdigest())
"""
    assert run_python(code, PYTHONHASHSEED="1") == run_python(code, PYTHONHASHSEED="2")


def test_a_type_outside_of_the_closed_list_is_refused_when_saved(store: ArtifactStore) -> None:
    with pytest.raises(ArtifactError, match=r"holds types that are not on the closed list: .*posix\.system"):
        keep(store, FunctionTransformer(os.system))


class Stranger(BaseEstimator):
    pass


def test_a_class_is_loaded_only_where_code_names_it(store: ArtifactStore) -> None:
    name = f"{Stranger.__module__}.Stranger"
    artifact = keep(store, Stranger(), (name,))
    with pytest.raises(ArtifactError, match=f"models/m: holds types .*{name}"):
        read_object(store, artifact)
    assert isinstance(read_object(store, artifact, (name,)), Stranger)


def test_a_pickle_under_the_name_of_an_object_is_never_executed(store: ArtifactStore, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (open, (str(tmp_path / "exploded"), "w"))  # type: ignore[return-value]

    def write(folder: Path) -> dict[str, int]:
        (folder / FILE).write_bytes(pickle.dumps(Bomb()))
        return {}

    artifact = store.add("models/m", None, "sklearn", write)
    with pytest.raises(ArtifactError, match="models/m: not a skops file"):
        read_object(store, artifact)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.full
def test_every_classifier_and_transformer_of_scikit_learn_can_be_stored(tmp_path: Path) -> None:
    import warnings

    from sklearn.utils import all_estimators

    refused, tried = [], 0
    positive = np.abs(X)
    for name, kind in all_estimators(["classifier", "transformer"]):
        try:
            with warnings.catch_warnings(action="ignore"):
                fitted = kind().fit(positive[:60], Y[:60])
        except (TypeError, ValueError, AttributeError):
            continue  # needs parameters, or another kind of data
        tried += 1
        try:
            write_object(tmp_path, fitted)
        except Exception as error:  # noqa: BLE001
            refused.append((name, str(error)[:60]))
    assert tried > 85
    assert [name for name, _ in refused] == ["Birch"], refused
