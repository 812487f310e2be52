"""Trains torch networks behind scikit-learn's interface, reproducibly, and stores them as plain values."""

import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from ml_platform.errors import ArtifactError, DataError, first_few, require_columns

LOG = logging.getLogger("ml_platform.models")
SECONDS_BETWEEN_RECORDS = 2.0
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
ROWS_AT_ONCE = 16_384  # when answering: bounds memory, and no more than that

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Batch:
    """Rows on the device: what goes into a network (each tensor: [rows, ...]) and what should come out ([rows])."""

    inputs: tuple[Tensor, ...]
    target: Tensor

    def __len__(self) -> int:
        return len(self.target)

    def take(self, positions: Tensor) -> "Batch":
        """Copies some rows."""
        return Batch(tuple(part[positions] for part in self.inputs), self.target[positions])

    def to(self, device: torch.device) -> "Batch":
        """Copies all rows to a device."""
        return Batch(tuple(part.to(device) for part in self.inputs), self.target.to(device))


def shuffled(rows: Batch, size: int) -> Iterator[Batch]:
    """Yields batches of rows in one random order, several times as fast as a DataLoader on tables in memory."""
    for positions in torch.split(torch.randperm(len(rows), device=rows.target.device), size):
        yield rows.take(positions)


def train_epoch(module: nn.Module, loss: Loss, batches: Iterable[Batch], optimizer: Any, schedule: Any) -> float:
    """Takes one optimizer step a batch; returns the mean loss a row."""
    module.train()
    total, rows = torch.zeros((), device=next(module.parameters()).device), 0
    for batch in batches:
        # None and not zeros: one pass over memory less in each step.
        optimizer.zero_grad(set_to_none=True)
        value = loss(module(*batch.inputs), batch.target)
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        total += value.detach() * len(batch)  # stays on the device: nothing waits for it
        rows += len(batch)
    return float(total) / rows


def answers(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    """Returns a network's outputs in evaluation mode, [rows, outputs], on the inputs' device."""
    module.eval()
    with torch.inference_mode():
        chunks = zip(*(torch.split(part, ROWS_AT_ONCE) for part in inputs), strict=True)
        return torch.cat([module(*chunk) for chunk in chunks])


def find_device() -> torch.device:
    """Returns the accelerator that torch finds here, else the processor."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return torch.device("cpu") if found is None else torch.device(found.type, torch.accelerator.current_device_index())


@contextmanager
def reproducible(seed: int, device: torch.device) -> Iterator[None]:
    """Makes what is drawn and computed within depend on the seed alone, and leaves torch as it was."""
    strict, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    workspace = os.environ.get(WORKSPACE)
    # torch's generators are global; forked, what others draw goes on as if nothing had been drawn here.
    devices = [] if device.type == "cpu" else [device.index]
    with torch.random.fork_rng(devices, device_type="cuda" if device.type == "cpu" else device.type):
        try:
            os.environ[WORKSPACE] = ":4096:8"  # what torch asks for before it calls cuBLAS deterministic
            torch.use_deterministic_algorithms(True)
            torch.manual_seed(seed)
            yield
        finally:
            torch.use_deterministic_algorithms(strict, warn_only=warns)
            # Set within, whatever was there before; it is put back, not left to other code in this process.
            del os.environ[WORKSPACE]
            if workspace is not None:
                os.environ[WORKSPACE] = workspace


class Network(BaseEstimator):
    """A torch network that is fitted and asked as scikit-learn's estimators are.

    A subclass names its parameters in `__init__`, learns what its inputs need in `_learn_inputs`, turns rows into
    tensors in `_inputs` and builds its module in `_module`, from its parameters and from what it has learnt: attributes
    that end in `_` and hold plain values (numbers, strings, lists, dicts), so that they can be written as JSON.

    Attributes:
        n_iter_: how many epochs were trained.
        best_iter_: the epoch whose weights were kept, from 1.
        loss_curve_: the mean training loss of each epoch.
        validation_curve_: the held-out rows' mean loss after each epoch; empty if no rows were held out.
        module_: the network itself.
    """

    batch_size: int
    learning_rate_init: float
    max_iter: int
    alpha: float
    validation_fraction: float
    n_iter_no_change: int
    random_state: int | None
    module_: nn.Module

    def _learn_inputs(self, frame: pd.DataFrame) -> None:
        """Learns from the training rows what turning rows into tensors needs."""
        raise NotImplementedError

    def _inputs(self, frame: pd.DataFrame) -> tuple[Tensor, ...]:
        """Turns rows into the module's inputs, each [rows, ...]."""
        raise NotImplementedError

    def _module(self, outputs: int) -> nn.Module:
        """Returns a module that returns [rows, outputs]."""
        raise NotImplementedError

    def _learn_target(self, y: np.ndarray) -> Tensor:
        """Learns what the target's values mean; returns them as a tensor [rows]."""
        raise NotImplementedError

    def _loss(self, answer: Tensor, target: Tensor) -> Tensor:
        """Returns the mean loss of answers [rows, outputs]."""
        raise NotImplementedError

    @property
    def _outputs(self) -> int:
        raise NotImplementedError

    def _augmented(self, batch: Batch) -> Batch:
        """Changes training rows in ways that leave their target as it is."""
        return batch

    def fit(self, X: Any, y: Any) -> Self:
        """Trains on all rows but those held out to find the best epoch.

        Raises:
            DataError: rows, a target or parameters that nothing can be learnt from.
        """
        self._check_parameters()
        frame, target = self._learn_columns(X), np.asarray(y)
        if target.ndim != 1 or len(target) != len(frame) or not len(frame):
            raise self._refusal(f"{len(frame):,} rows with a target of shape {target.shape}; expected one value a row")
        if pd.isna(target).any():
            raise self._refusal(f"the target is missing in {pd.isna(target).sum():,} rows; leave those out")
        self._learn_inputs(frame)
        rows = Batch(self._inputs(frame), self._learn_target(target))
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        device = find_device()
        with reproducible(seed, device):
            self.module_ = self._module(self._outputs).to(device)
            kept, held_out = self._hold_out(rows)
            self._train(kept.to(device), held_out.to(device))
        return self

    def _check_parameters(self) -> None:
        wholes = {name: getattr(self, name) for name in ("batch_size", "max_iter", "n_iter_no_change")}
        for name, value in wholes.items():
            if not isinstance(value, int | np.integer) or value < 1:
                raise self._refusal(f"{name} is {value!r}; expected a whole number from 1")
        if not 0 <= self.validation_fraction < 1:
            raise self._refusal(f"validation_fraction is {self.validation_fraction!r}; expected 0 (none) to below 1")

    def _refusal(self, message: str) -> DataError:
        return DataError(f"{type(self).__name__}: {message}")

    def _learn_columns(self, X: Any) -> pd.DataFrame:
        # A second fit on an array must not keep the names of a first one on a frame.
        self.__dict__.pop("feature_names_in_", None)
        frame = self._as_frame(X)
        self.n_features_in_ = frame.shape[1]
        if isinstance(X, pd.DataFrame):
            if not all(isinstance(name, str) for name in frame.columns) or not frame.columns.is_unique:
                raise self._refusal(f"columns {first_few(list(frame.columns))}; expected strings, each once")
            self.feature_names_in_ = np.asarray(frame.columns, dtype=object)
        return frame

    def _as_frame(self, X: Any) -> pd.DataFrame:
        if isinstance(X, pd.DataFrame):
            return X
        values = np.asarray(X)
        if values.ndim != 2:
            raise self._refusal(f"{type(X).__name__} of shape {values.shape}; expected a DataFrame, or rows by columns")
        return pd.DataFrame(values, columns=[f"x{position}" for position in range(values.shape[1])])

    def _known_columns(self, X: Any) -> pd.DataFrame:
        check_is_fitted(self)
        frame, count = self._as_frame(X), self.n_features_in_
        if not isinstance(X, pd.DataFrame) and frame.shape[1] != count:
            raise self._refusal(f"{frame.shape[1]} columns; expected {count}, as in training")
        names = list(getattr(self, "feature_names_in_", [f"x{place}" for place in range(count)]))
        require_columns(frame.columns, names, type(self).__name__)
        return frame[names]

    def _hold_out(self, rows: Batch) -> tuple[Batch, Batch]:
        """Draws the rows that find the best epoch; returns the others, and them."""
        count = math.ceil(len(rows) * self.validation_fraction)
        if count >= len(rows):
            raise self._refusal(f"{len(rows)} rows, of which {count} would be held out; give more rows")
        order = torch.randperm(len(rows))
        # Sorted again, so that the rows kept stand in the order of the table and the draw decides only which.
        return rows.take(order[count:].sort().values), rows.take(order[:count].sort().values)

    def _train(self, rows: Batch, held_out: Batch) -> None:
        optimizer = torch.optim.AdamW(
            self.module_.parameters(), lr=self.learning_rate_init, weight_decay=self.alpha, fused=True
        )
        steps = self.max_iter * math.ceil(len(rows) / self.batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.learning_rate_init, total_steps=steps)
        self.loss_curve_: list[float] = []
        self.validation_curve_: list[float] = []
        self.best_iter_, best = 0, self._weights()
        logged_at = time.monotonic()
        for epoch in range(1, self.max_iter + 1):
            batches = map(self._augmented, shuffled(rows, self.batch_size))
            self.loss_curve_.append(train_epoch(self.module_, self._loss, batches, optimizer, schedule))
            self._validate(held_out)
            if self._is_best(epoch):
                self.best_iter_, best = epoch, self._weights()
            is_last = epoch == self.max_iter or epoch - self.best_iter_ >= self.n_iter_no_change
            if is_last or time.monotonic() - logged_at >= SECONDS_BETWEEN_RECORDS:
                logged_at = time.monotonic()
                LOG.info("%s", self._told(is_last))
            if is_last:
                break
        self.n_iter_ = epoch
        self.module_.load_state_dict(best)
        self.module_.eval().requires_grad_(False)

    def _weights(self) -> dict[str, Tensor]:
        return {name: weight.detach().clone() for name, weight in self.module_.state_dict().items()}

    def _validate(self, held_out: Batch) -> None:
        if len(held_out):
            self.validation_curve_.append(float(self._loss(answers(self.module_, held_out.inputs), held_out.target)))
        last = [self.loss_curve_[-1], *self.validation_curve_[-1:]]
        if not all(map(math.isfinite, last)):
            raise self._refusal(f"the loss became {last[0]} in epoch {len(self.loss_curve_)}; lower learning_rate_init")

    def _is_best(self, epoch: int) -> bool:
        """Whether the newest epoch is the best so far; without held-out rows the newest always is."""
        curve = self.validation_curve_
        return not curve or epoch == 1 or curve[-1] < min(curve[:-1])

    def _told(self, is_last: bool) -> str:
        told = f"epoch {len(self.loss_curve_)} of {self.max_iter}: training loss {self.loss_curve_[-1]:.4f}"
        if self.validation_curve_:
            told += f", held-out loss {self.validation_curve_[-1]:.4f}"
            told += f"; keeping epoch {self.best_iter_}" if is_last else ""
        return told

    def _answer(self, X: Any) -> np.ndarray:
        """Returns the module's outputs in double precision, [rows, outputs]."""
        inputs = self._inputs(self._known_columns(X))
        device = next(self.module_.parameters()).device
        answer: np.ndarray = answers(self.module_, tuple(part.to(device) for part in inputs)).cpu().double().numpy()
        return answer

    def to_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Returns all that the fitted network is: weights as arrays, and plain JSON values."""
        check_is_fitted(self)
        tensors = {name: weight.cpu().numpy() for name, weight in self._weights().items()}
        learnt = {name: value for name, value in vars(self).items() if name.endswith("_") and name != "module_"}
        return tensors, {"parameters": _plain(self.get_params(deep=False)), "learnt": _plain(learnt)}

    @classmethod
    def from_state(cls, tensors: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> Self:
        """Builds a fitted network from what `to_state` returned.

        Raises:
            ArtifactError: weights that are missing, unknown, or of another shape than the parameters ask for.
        """
        network = cls(**state["parameters"])
        network.__dict__.update({name: _restored(value) for name, value in state["learnt"].items()})
        # Somebody may have made the shapes up: weights are compared with them before memory is taken.
        with torch.device("meta"):  # shapes alone: no memory, and no random number drawn
            module = network._module(network._outputs)
        weights = {name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}
        _check_weights(module.state_dict(), weights)
        module.load_state_dict(weights, assign=True)
        network.module_ = module.to(find_device()).eval().requires_grad_(False)
        return network


def _check_weights(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    def told(weights: Mapping[str, Tensor], name: str) -> str:
        return f"{weights[name].dtype} of shape {tuple(weights[name].shape)}" if name in weights else "nothing"

    wrong = [f"{name} (expected {told(expected, name)}, found {told(found, name)})"
             for name in sorted({*expected, *found}) if told(expected, name) != told(found, name)]  # fmt: skip
    if wrong:
        raise ArtifactError(f"weights do not fit the network: {first_few(wrong)}")


def _plain(value: Any) -> Any:
    """Returns a value as JSON has it; an array as a dict of its type and values."""
    if isinstance(value, np.ndarray):
        return {"dtype": str(value.dtype), "values": value.tolist()}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value


def _restored(value: Any) -> Any:
    is_array = isinstance(value, Mapping) and set(value) == {"dtype", "values"}
    return np.array(value["values"], dtype=value["dtype"]) if is_array else value


class NetworkClassifier(ClassifierMixin, Network):
    """A network that tells two or more classes apart, by cross-entropy.

    Attributes:
        classes_: the classes, sorted; the columns of `predict_proba`.
    """

    classes_: np.ndarray

    @property
    def _outputs(self) -> int:
        return len(self.classes_)

    def _learn_target(self, y: np.ndarray) -> Tensor:
        if type_of_target(y) not in ("binary", "multiclass"):
            raise self._refusal(f"the target is {y.dtype} ({type_of_target(y)}); expected labels, two or more of them")
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise self._refusal(f"one class in the target ({self.classes_[0]}); expected two or more")
        return torch.from_numpy(codes.astype(np.int64))

    def _loss(self, answer: Tensor, target: Tensor) -> Tensor:
        return nn.functional.cross_entropy(answer, target)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Returns the probability of each class, [rows, classes]."""
        scores = self._answer(X)
        # Softmax in double precision, less the largest score, so that exp cannot overflow.
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares: np.ndarray = odds / odds.sum(axis=1, keepdims=True)
        return shares

    def predict(self, X: Any) -> np.ndarray:
        """Returns the most probable class of each row."""
        best = self.predict_proba(X).argmax(axis=1)
        classes: np.ndarray = self.classes_[best]
        return classes


class NetworkRegressor(RegressorMixin, Network):
    """A network that answers with a number, by the squared error of the standardised target.

    Attributes:
        center_, spread_: mean and standard deviation of the training target.
    """

    center_: float
    spread_: float
    _outputs = 1

    def _learn_target(self, y: np.ndarray) -> Tensor:
        if not np.issubdtype(y.dtype, np.number) or not np.isfinite(y).all():
            raise self._refusal(f"the target is {y.dtype}, or not finite; expected numbers")
        values = y.astype(np.float64)
        self.center_, self.spread_ = float(values.mean()), float(values.std()) or 1.0
        return torch.from_numpy(((values - self.center_) / self.spread_).astype(np.float32))

    def _loss(self, answer: Tensor, target: Tensor) -> Tensor:
        return nn.functional.mse_loss(answer[:, 0], target)

    def predict(self, X: Any) -> np.ndarray:
        """Returns a number for each row."""
        return self._answer(X)[:, 0] * self.spread_ + self.center_
