import logging
import os

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from torch import Tensor

from ml_platform.errors import DataError
from ml_platform.models import EntityEmbeddingClassifier, EntityEmbeddingRegressor
from ml_platform.models import network as network_module
from ml_platform.models.network import Batch, Network, find_device, reproducible, shuffled

DRAWN = np.random.default_rng(0)
ROWS = pd.DataFrame(
    {
        "dest": DRAWN.choice(["BOS", "ORD", "SFO"], 400),
        "hour": DRAWN.integers(0, 24, 400),
        "wind": np.where(DRAWN.random(400) < 0.1, np.nan, DRAWN.normal(size=400)),
    }
)
LATE = (ROWS["hour"] > 12) ^ (ROWS["dest"] == "SFO")
SMALL = {"categorical": ["dest"], "hidden_layer_sizes": (16,), "batch_size": 64, "max_iter": 3}


def fitted(**parameters: object) -> EntityEmbeddingClassifier:
    return EntityEmbeddingClassifier(**{**SMALL, "random_state": 0, **parameters}).fit(ROWS, LATE)


@pytest.fixture(scope="module")
def model() -> EntityEmbeddingClassifier:
    return fitted(max_iter=30, learning_rate_init=0.01)


def weights(model: Network) -> dict[str, bytes]:
    return {name: weight.tobytes() for name, weight in model.to_state()[0].items()}


def test_it_learns(model: EntityEmbeddingClassifier) -> None:
    assert model.score(ROWS, LATE) > 0.9


def test_probabilities_are_doubles_that_add_up_to_one(model: EntityEmbeddingClassifier) -> None:
    answer = model.predict_proba(ROWS)
    assert answer.dtype == np.float64
    np.testing.assert_allclose(answer.sum(axis=1), 1, rtol=0, atol=1e-12)


def test_two_fits_with_one_seed_are_equal_bytes_and_another_seed_differs() -> None:
    assert weights(fitted()) == weights(fitted())
    assert weights(fitted()) != weights(fitted(random_state=1))


def test_a_fit_leaves_random_states_and_switches_as_they_were() -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), dict(os.environ)
    network = fitted()
    type(network).from_state(*network.to_state())
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1].tolist(), dict(os.environ)) == before[1:]
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_fit_that_fails_leaves_torch_as_it_was() -> None:
    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), reproducible(1, find_device()):
        torch.rand(1) / (1 // 0)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.are_deterministic_algorithms_enabled()


class Recording(EntityEmbeddingClassifier):
    def _validate(self, held_out: Batch) -> None:
        super()._validate(held_out)
        self.seen: list[dict[str, Tensor]] = [*getattr(self, "seen", []), self._weights()]


def test_early_stopping_keeps_the_weights_of_the_best_epoch() -> None:
    noise = np.random.default_rng(1).random(len(ROWS)) < 0.5
    given = {**SMALL, "max_iter": 100, "hidden_layer_sizes": (64,), "dropout": 0.0, "learning_rate_init": 0.03}
    model = Recording(**given, n_iter_no_change=4, random_state=0).fit(ROWS, noise)
    assert model.n_iter_ == model.best_iter_ + 4 == len(model.validation_curve_) < 100
    assert model.validation_curve_[model.best_iter_ - 1] == min(model.validation_curve_)
    best = model.seen[model.best_iter_ - 1]
    assert all(torch.equal(weight, best[name]) for name, weight in model.module_.state_dict().items())
    assert any(not torch.equal(weight, best[name]) for name, weight in model.seen[-1].items())


def test_without_held_out_rows_the_last_epoch_is_kept() -> None:
    model = fitted(validation_fraction=0.0)
    assert (model.n_iter_, model.best_iter_, model.validation_curve_) == (3, 3, [])


def test_a_row_alone_is_answered_as_in_company(model: EntityEmbeddingClassifier) -> None:
    together = model.predict_proba(ROWS[:20])
    alone = np.vstack([model.predict_proba(ROWS[place : place + 1]) for place in range(20)])
    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-6)


def test_rows_are_answered_in_chunks(model: EntityEmbeddingClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = model.predict_proba(ROWS)
    monkeypatch.setattr(network_module, "ROWS_AT_ONCE", 7)
    np.testing.assert_allclose(model.predict_proba(ROWS), whole, rtol=0, atol=1e-6)


def test_a_permutation_shows_each_row_once() -> None:
    rows = Batch((torch.arange(10),), torch.arange(10))
    sizes = [len(batch) for batch in shuffled(rows, 4)]
    seen = torch.cat([batch.inputs[0] for batch in shuffled(rows, 4)])
    assert sizes == [4, 4, 2]
    assert sorted(seen.tolist()) == list(range(10))


def test_progress_is_told_now_and_then(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ml_platform.models")
    fitted()
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["epoch 3 of 3"]
    caplog.clear()
    monkeypatch.setattr(network_module, "SECONDS_BETWEEN_RECORDS", 0.0)
    model = fitted()
    told = [record.getMessage() for record in caplog.records]
    training, held_out = model.loss_curve_[0], model.validation_curve_[0]
    assert told[0] == f"epoch 1 of 3: training loss {training:.4f}, held-out loss {held_out:.4f}"
    assert len(told) == 3


def test_it_behaves_as_an_estimator_does(model: EntityEmbeddingClassifier) -> None:
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert not hasattr(copy, "module_")
    assert copy.set_params(dropout=0.5).dropout == 0.5
    assert model.n_features_in_ == 3
    assert model.feature_names_in_.tolist() == ["dest", "hour", "wind"]
    assert len(cross_val_score(clone(model).set_params(max_iter=1), ROWS, LATE, cv=2)) == 2


def test_what_was_not_fitted_says_so() -> None:
    with pytest.raises(NotFittedError, match="not fitted yet"):
        EntityEmbeddingClassifier(["dest"]).predict(ROWS)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        EntityEmbeddingClassifier(["dest"]).to_state()


@pytest.mark.parametrize(
    "target",
    [np.where(LATE, 3, -1), np.where(LATE, "late", "fine"), LATE.to_numpy(), LATE.map({True: "l", False: "f"}),
     ROWS["hour"].to_numpy() % 3],
    ids=["integers", "strings", "booleans", "pandas strings", "three classes"],
)  # fmt: skip
def test_any_labels_come_back_as_they_are(target: np.ndarray) -> None:
    model = EntityEmbeddingClassifier(**SMALL, random_state=0).fit(ROWS, target)
    assert set(model.predict(ROWS).tolist()) <= set(np.unique(np.asarray(target)).tolist())
    assert model.predict_proba(ROWS).shape == (400, len(np.unique(np.asarray(target))))


def test_a_number_is_answered_on_its_own_scale() -> None:
    minutes = 1000.0 + 100 * (ROWS["dest"] == "SFO") + ROWS["hour"]
    model = EntityEmbeddingRegressor(**{**SMALL, "max_iter": 60}, dropout=0.0, random_state=0).fit(ROWS, minutes)
    assert model.score(ROWS, minutes) > 0.9
    assert model.predict(ROWS).dtype == np.float64


@pytest.mark.parametrize(
    ("parameters", "rows", "target", "told"),
    [
        ({"max_iter": 0}, ROWS, LATE, "max_iter is 0; expected a whole number from 1"),
        ({"batch_size": 0.5}, ROWS, LATE, "batch_size is 0.5"),
        ({"validation_fraction": 1.0}, ROWS, LATE, "validation_fraction is 1.0"),
        ({}, ROWS, LATE[:-1], r"400 rows with a target of shape \(399,\)"),
        ({}, ROWS[:0], LATE[:0], r"0 rows"),
        ({}, ROWS[:1], LATE[:1], "one class in the target"),
        ({}, ROWS, LATE.map({True: 1.0, False: None}), "the target is missing in"),
        ({}, ROWS, ROWS["hour"] + 0.5, r"the target is float64 \(continuous\); expected labels"),
        (
            {"categorical": []},
            ROWS.rename(columns=str.upper).rename(columns={"DEST": 3}),
            LATE,
            "columns 3, HOUR, WIND; expected strings",
        ),
        ({"learning_rate_init": 1e30}, ROWS, LATE, "the loss became .* in epoch 1; lower learning_rate_init"),
    ],
)
def test_what_nothing_can_be_learnt_from_is_refused(
    parameters: dict[str, object], rows: pd.DataFrame, target: pd.Series, told: str
) -> None:
    with pytest.raises(DataError, match=f"EntityEmbeddingClassifier: {told}"):
        EntityEmbeddingClassifier(**{**SMALL, "random_state": 0, **parameters}).fit(rows, target)
