import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ml_platform.artifacts import ArtifactStore
from ml_platform.artifacts.networks import STATE, WEIGHTS, _digest, is_network, read_network, write_network
from ml_platform.artifacts.objects import own_types, read_object, stored_object, write_object
from ml_platform.errors import ArtifactError
from ml_platform.models import ConvolutionalClassifier, EntityEmbeddingClassifier, EntityEmbeddingRegressor
from ml_platform.versions.description import describe
from ml_platform_tests.conftest import run_python

DRAWN = np.random.default_rng(0)
ROWS = pd.DataFrame({"wind": DRAWN.normal(size=120), "dest": ["BOS", "ORD", "SFO"] * 40, "code": [0, 1, 2, -1] * 30})
PIXELS = pd.DataFrame(DRAWN.normal(size=(120, 16)), columns=[f"pixel_{place}" for place in range(16)])
ANSWERS = {
    "booleans": (DRAWN.random(120) > 0.5),
    "strings": np.array(["late", "soon", "fine"] * 40),
    "objects": np.array(["late", "soon", "fine"] * 40, dtype=object),
    "integers": np.arange(120) % 4,
}


def table(**parameters: object) -> EntityEmbeddingClassifier:
    given = {"categorical": ["dest", "code"], "hidden_layer_sizes": (8,), "max_iter": 2, "random_state": 0}
    return EntityEmbeddingClassifier(**{**given, **parameters})


NAME = own_types(table())[0]


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "store"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A stored network."""
    write_network(tmp_path, table().fit(ROWS, ANSWERS["strings"]))
    return tmp_path


def kept(store: ArtifactStore, estimator: BaseEstimator) -> BaseEstimator:
    def write(folder: Path) -> dict[str, int]:
        write_object(folder, estimator, own_types(estimator))
        return {"rows": 120}

    artifact = store.add("models/m", None, "sklearn", write)
    assert {file.name for file in artifact.files} == {STATE, WEIGHTS}
    return stored_object(store, artifact, own_types(estimator)).estimator


@pytest.mark.parametrize("answers", ANSWERS.values(), ids=ANSWERS)
def test_a_classifier_answers_equally_after_storage(store: ArtifactStore, answers: np.ndarray) -> None:
    model = table().fit(ROWS, answers)
    loaded = kept(store, model)
    np.testing.assert_array_equal(loaded.predict_proba(ROWS), model.predict_proba(ROWS))
    np.testing.assert_array_equal(loaded.predict(ROWS), model.predict(ROWS))
    assert loaded.classes_.dtype == model.classes_.dtype
    assert (loaded.n_iter_, loaded.loss_curve_) == (model.n_iter_, model.loss_curve_)


def test_other_networks_answer_equally_after_storage(store: ArtifactStore) -> None:
    regressor = EntityEmbeddingRegressor(["dest", "code"], max_iter=2, random_state=0).fit(ROWS, ROWS["wind"])
    np.testing.assert_array_equal(kept(store, regressor).predict(ROWS), regressor.predict(ROWS))
    images = ConvolutionalClassifier([4, 4], max_iter=1, random_state=0).fit(PIXELS, ANSWERS["integers"])
    np.testing.assert_array_equal(kept(store, images).predict_proba(PIXELS), images.predict_proba(PIXELS))


def test_a_network_that_was_read_is_written_as_equal_bytes(folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    again.mkdir()
    write_network(again, read_network(folder, [NAME], "m"))
    for name in (WEIGHTS, STATE):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


def stored_digest(folder: Path) -> str:
    """Fits and stores on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    write_network(folder, table().fit(ROWS, ANSWERS["strings"]))
    torch.set_num_threads(threads)
    return " ".join(hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (WEIGHTS, STATE))


@pytest.mark.full
def test_equal_fits_are_equal_bytes_in_other_processes(tmp_path: Path) -> None:
    here = stored_digest(tmp_path)
    code = f"""
from ml_platform_tests.artifacts.test_networks import *
print(stored_digest(Path({str(tmp_path)!r})))
"""
    assert stored_digest(tmp_path) == here
    assert run_python(code, PYTHONHASHSEED="1") == here


def test_a_class_that_code_does_not_name_is_refused_before_it_is_imported(folder: Path) -> None:
    with pytest.raises(ArtifactError, match=f"m: made by '{NAME}', a class that code does not name; it names: none"):
        read_network(folder, [], "m")
    for name in ("antigravity.fly", "../outside.Network", "os.system", 7, None, [NAME]):
        tamper(folder, **{"class": name})
        with pytest.raises(ArtifactError, match="a class that code does not name; it names: ml_platform"):
            read_network(folder, {NAME}, "m")
    assert "antigravity" not in sys.modules


def test_a_class_that_code_does_not_name_is_not_stored(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="a class that code does not name"):
        write_object(tmp_path, table().fit(ROWS, ANSWERS["strings"]))


def test_a_trusted_class_that_is_no_network_is_refused(folder: Path) -> None:
    name = "sklearn.linear_model._logistic.LogisticRegression"
    tamper(folder, **{"class": name})
    with pytest.raises(ArtifactError, match=f"m: {name} refuses its state: AttributeError"):
        read_network(folder, [name], "m")


def is_same_document(changed: bytes, content: bytes) -> bool:
    """Whether the byte was the last digit of a number that two texts stand for."""
    try:
        return json.loads(changed) == json.loads(content)
    except ValueError:
        return False


@pytest.mark.parametrize("name", [WEIGHTS, STATE])
def test_a_flipped_byte_is_refused(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    for place in range(0, len(content), len(content) // 40):
        changed = bytearray(content)
        changed[place] ^= 1 if chr(content[place]).isalnum() else 128
        (folder / name).write_bytes(changed)
        if name == STATE and is_same_document(changed, content):
            continue
        with pytest.raises(ArtifactError, match="m: "):
            read_network(folder, [NAME], "m")


@pytest.mark.parametrize("name", [WEIGHTS, STATE])
@pytest.mark.parametrize("keep", [0, 0.5, 0.99, None])
def test_a_file_that_is_cut_or_not_there_is_refused(folder: Path, name: str, keep: float | None) -> None:
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    if keep is not None:
        (folder / name).write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(ArtifactError, match=f"m: {name}"):
        read_network(folder, [NAME], "m")


@pytest.mark.parametrize("text", ["[]", "7", "null", '{"class": "x"}', "[" * 100_000, '{"sha256": 3}'])
def test_a_file_that_describes_no_network_is_refused(folder: Path, text: str) -> None:
    (folder / STATE).write_text(text)
    with pytest.raises(ArtifactError, match=f"m: {STATE}"):
        read_network(folder, [NAME], "m")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda weights: weights.pop("layers.0.bias"),
         r"layers\.0\.bias \(expected torch\.float32 of shape \(8,\), found nothing\)"),
        (lambda weights: weights.update(more=torch.zeros(2)), r"more \(expected nothing, found torch\.float32 of"),
        (lambda weights: weights.update({"layers.0.bias": torch.zeros(9)}), r".*, found torch\.float32 of shape \(9,\)"),
        (lambda weights: weights.update({"layers.0.bias": torch.zeros(8).double()}), r".*, found torch\.float64"),
    ],
    ids=["missing", "more", "shape", "type"],
)  # fmt: skip
def test_weights_that_do_not_fit_are_named(folder: Path, change: object, told: str) -> None:
    weights = load_file(folder / WEIGHTS)
    change(weights)  # type: ignore[operator]
    save_file(weights, folder / WEIGHTS)
    tamper(folder, weights_sha256=hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest())
    with pytest.raises(ArtifactError, match=f"m: weights do not fit the network: {told}"):
        read_network(folder, [NAME], "m")


@pytest.mark.parametrize("change", [{"unknown": 1}, {"hidden_layer_sizes": "8"}, {"hidden_layer_sizes": [10**12]}])
def test_parameters_that_make_another_network_are_refused(folder: Path, change: dict) -> None:
    state = json.loads((folder / STATE).read_text())["state"]
    state["parameters"].update(change)
    tamper(folder, state=state)
    with pytest.raises(ArtifactError, match="m: "):
        read_network(folder, [NAME], "m")


def test_a_description_that_lacks_a_part_is_refused(folder: Path) -> None:
    document = {"format": 1, "class": NAME}
    (folder / STATE).write_text(json.dumps(document | {"sha256": _digest(document)}))
    with pytest.raises(ArtifactError, match=f"m: {STATE}"):
        read_network(folder, [NAME], "m")


def tamper(folder: Path, **changes: object) -> None:
    """Changes a network's description, and its digest with it."""
    document = json.loads((folder / STATE).read_text()) | changes
    document.pop("sha256")
    (folder / STATE).write_text(json.dumps(document | {"sha256": _digest(document)}))


def test_a_parameter_that_is_no_plain_value_is_refused_when_stored(tmp_path: Path) -> None:
    model = table(random_state=np.random.RandomState(0)).fit(ROWS, ANSWERS["strings"])
    with pytest.raises(ArtifactError, match="EntityEmbeddingClassifier cannot be stored: its state is not plain JSON"):
        write_network(tmp_path, model)
    assert not list(tmp_path.iterdir())


def test_a_class_that_cannot_be_imported_again_is_refused_when_stored(tmp_path: Path) -> None:
    class Local(EntityEmbeddingClassifier):
        pass

    with pytest.raises(ArtifactError, match="it cannot be imported again; define it at its module's top"):
        write_network(tmp_path, Local(["dest"], max_iter=1).fit(ROWS[["dest"]], ANSWERS["strings"]))


@pytest.mark.parametrize(
    "estimator",
    [make_pipeline(StandardScaler(), ConvolutionalClassifier([4, 4])),
     CalibratedClassifierCV(make_pipeline(ConvolutionalClassifier([4, 4])))],
    ids=["Pipeline", "Calibrated"],
)  # fmt: skip
def test_a_network_inside_of_another_estimator_is_refused(tmp_path: Path, estimator: BaseEstimator) -> None:
    told = "cannot be stored: it holds the network ConvolutionalClassifier; make the network the model itself"
    with pytest.raises(ArtifactError, match=told):
        write_object(tmp_path, estimator, own_types(estimator))


def test_what_is_no_network_is_stored_as_before(store: ArtifactStore) -> None:
    model = LogisticRegression().fit(PIXELS, ANSWERS["integers"])
    artifact = store.add("models/l", None, "sklearn", lambda folder: write_object(folder, model) or {})
    np.testing.assert_array_equal(read_object(store, artifact).predict(PIXELS), model.predict(PIXELS))
    assert is_network(table())
    assert not is_network(model)


def test_a_network_is_described_by_its_parameters() -> None:
    assert NAME == "ml_platform.models.tables.EntityEmbeddingClassifier"
    assert describe(table())["parameters"]["hidden_layer_sizes"] == {"tuple": [8]}
    assert describe(table()) != describe(table(dropout=0.5))
