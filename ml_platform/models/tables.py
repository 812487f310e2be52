"""Defines networks for tables, which learn a vector for each category (entity embeddings)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ml_platform.errors import first_few, require_columns
from ml_platform.models.network import Network, NetworkClassifier, NetworkRegressor


class EmbeddingModule(nn.Module):
    """Looks up a vector for each category, puts the numbers beside them and goes through dense layers.

    Args:
        sizes: how many codes each categorical column has; code 0 is for what was not seen.
        numbers: how many numbers there are.
        hidden: the widths of the dense layers.
        dropout: the share of values left out in training, behind each layer.
        outputs: how many values come out.
    """

    def __init__(self, sizes: Sequence[int], numbers: int, hidden: Sequence[int], dropout: float, outputs: int):
        super().__init__()
        widths = [min(50, (size + 1) // 2) for size in sizes]
        self.embeddings = nn.ModuleList(map(_embedding, sizes, widths))
        layers, width = nn.Sequential(), sum(widths) + numbers
        for into in hidden:
            layers.extend([nn.Linear(width, into), nn.ReLU(), nn.Dropout(dropout)])
            width = into
        self.layers = layers.append(nn.Linear(width, outputs))

    def forward(self, codes: Tensor, numbers: Tensor) -> Tensor:
        """Takes codes [rows, categorical columns] and numbers [rows, numbers]; returns [rows, outputs]."""
        embedded = [embedding(codes[:, place]) for place, embedding in enumerate(self.embeddings)]
        answer: Tensor = self.layers(torch.cat([*embedded, numbers], dim=1))
        return answer


def _embedding(size: int, width: int) -> nn.Embedding:
    embedding = nn.Embedding(size, width)
    nn.init.normal_(embedding.weight, std=0.1)
    nn.init.zeros_(embedding.weight[0])  # what was never seen is like the average of what was
    return embedding


class _TableNetwork(Network):
    """Prepares a table's columns: learnt from the training rows, kept with the network.

    Attributes:
        categories_: the values seen in each categorical column; the n-th has code n + 1, all others have code 0.
        numeric_: the other columns.
        medians_: what a missing number is taken for, by numeric column.
        means_, scales_: what each number is standardised by.
        indicated_: the places in `numeric_` where numbers were missing, each with one more input that says so.
    """

    def __init__(  # noqa: PLR0913  (scikit-learn's parameters are arguments)
        self,
        categorical: Sequence[str] = (),
        *,
        hidden_layer_sizes: Sequence[int] = (128, 64),
        dropout: float = 0.2,
        batch_size: int = 1024,
        learning_rate_init: float = 0.003,
        max_iter: int = 10,
        alpha: float = 0.01,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 3,
        random_state: int | None = None,
    ):
        self.categorical = categorical
        self.hidden_layer_sizes = hidden_layer_sizes
        self.dropout = dropout
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.alpha = alpha
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.random_state = random_state

    def _learn_inputs(self, frame: pd.DataFrame) -> None:
        require_columns(frame.columns, self.categorical, type(self).__name__)
        keys = [self._keys(frame[name]) for name in self.categorical]
        self.categories_ = [_values(column) for column in keys]
        self.numeric_ = [str(name) for name in frame.columns if name not in self.categorical]
        numbers = self._numbers(frame)
        missing = np.isnan(numbers)
        self.indicated_ = np.flatnonzero(missing.any(axis=0)).tolist()
        # A column that is missing throughout gets 0, which standardising turns into a constant.
        self.medians_ = [float(np.median(column[~gone])) if not gone.all() else 0.0
                         for column, gone in zip(numbers.T, missing.T, strict=True)]  # fmt: skip
        filled = np.where(missing, self.medians_, numbers)
        self.means_ = filled.mean(axis=0).tolist()
        self.scales_ = [float(spread) or 1.0 for spread in filled.std(axis=0)]

    def _inputs(self, frame: pd.DataFrame) -> tuple[Tensor, ...]:
        codes = [self._codes(frame[name], seen) for name, seen in zip(self.categorical, self.categories_, strict=True)]
        numbers = self._numbers(frame)
        missing = np.isnan(numbers)
        scaled = (np.where(missing, self.medians_, numbers) - self.means_) / self.scales_
        beside = np.hstack([scaled, missing[:, self.indicated_]]).astype(np.float32)
        # A table without categories still needs a tensor of codes, with no columns.
        empty = np.empty((len(frame), 0), dtype=np.int64)
        return torch.from_numpy(np.column_stack([empty, *codes])), torch.from_numpy(beside)

    def _module(self, outputs: int) -> nn.Module:
        sizes = [len(seen) + 1 for seen in self.categories_]
        numbers = len(self.numeric_) + len(self.indicated_)
        return EmbeddingModule(sizes, numbers, self.hidden_layer_sizes, self.dropout, outputs)

    def _codes(self, values: pd.Series, seen: Sequence[str | int]) -> np.ndarray:
        """Returns the code of each value, [rows]; 0 for a missing value and one that was not seen."""
        keys = self._keys(values)
        if seen and _are_strings(keys) != isinstance(seen[0], str):
            expected = "strings" if isinstance(seen[0], str) else "whole numbers"
            raise self._refusal(f"column {values.name!r} is {values.dtype}; expected {expected}, as in training")
        known: Any = seen
        # get_indexer gives -1 for what is not there, and missing values are never among the categories: plus one, that
        # is code 0.
        codes: np.ndarray = pd.Index(known, dtype=keys.dtype).get_indexer(keys) + 1
        return codes

    def _keys(self, values: pd.Series) -> Any:
        """Returns a categorical column's values as strings, or as whole numbers in double precision."""
        # By the categories' own type: the codes of pandas depend on the frame that they came with.
        if isinstance(values.dtype, pd.CategoricalDtype):
            values = values.astype(values.cat.categories.dtype)
        kind = pd.api.types.infer_dtype(values, skipna=True)
        if kind in ("string", "empty"):
            return pd.Index(values, dtype="str")
        if kind not in ("integer", "boolean", "floating", "mixed-integer-float"):
            raise self._refusal(f"column {values.name!r} is {values.dtype}; expected strings or whole numbers")
        numbers = values.to_numpy(np.float64, na_value=np.nan)
        broken = numbers[~np.isnan(numbers) & (numbers != np.round(numbers))]
        if len(broken):
            raise self._refusal(f"column {values.name!r} holds {broken[0]}; a category is a string or a whole number")
        return pd.Index(numbers)

    def _numbers(self, frame: pd.DataFrame) -> np.ndarray:
        """Returns the numeric columns in double precision, [rows, columns]; missing ones are NaN."""
        for name in self.numeric_:
            if not pd.api.types.is_numeric_dtype(frame[name]):
                known = f"name it in categorical ({first_few(list(self.categorical)) or 'empty'}) if it is a category"
                raise self._refusal(f"column {name!r} is {frame[name].dtype}; expected numbers; {known}")
        numbers: np.ndarray = frame[self.numeric_].to_numpy(np.float64, na_value=np.nan)
        endless = np.isinf(numbers).any(axis=0)
        if endless.any():
            raise self._refusal(f"column {self.numeric_[int(endless.argmax())]!r} holds infinite numbers")
        return numbers


def _are_strings(keys: Any) -> bool:
    return not pd.api.types.is_numeric_dtype(keys)


def _values(keys: Any) -> list[str | int]:
    """Returns the values that a column has, sorted."""
    values = keys.dropna().unique().sort_values()
    return [value if isinstance(value, str) else int(value) for value in values]


class EntityEmbeddingClassifier(NetworkClassifier, _TableNetwork):
    """Tells rows of a table apart by learning a vector for each category (Guo and Berkhahn, 2016).

    It prepares its columns by itself: a category that was not seen in training has an index of its own, a missing
    number is taken for the median (and said to be missing), numbers are standardised.

    Args:
        categorical: columns of strings or of whole numbers (codes, with -1 for others); all others are numbers.
        hidden_layer_sizes: the widths of the dense layers.
        dropout: the share of values left out in training, behind each layer.
        batch_size: rows a step.
        learning_rate_init: the highest learning rate of the one cycle.
        max_iter: epochs at most.
        alpha: weight decay.
        validation_fraction: the share of rows held out to find the best epoch; 0 trains on all rows to the end.
        n_iter_no_change: stops this many epochs after the best one.
        random_state: the seed; equal seeds give equal bytes on equal devices and numbers of threads.

    Attributes:
        classes_: the classes, sorted; the columns of `predict_proba`.
        n_iter_, best_iter_: how many epochs were trained, and which one was kept.

    Examples:
        >>> flights = pd.DataFrame({"dest": ["BOS", "ORD"] * 50, "hour": range(100)})
        >>> late = flights["dest"] == "ORD"
        >>> model = EntityEmbeddingClassifier(["dest"], max_iter=30, random_state=0).fit(flights, late)
        >>> model.predict(pd.DataFrame({"dest": ["ORD", "BOS"], "hour": [5, None]})).tolist()
        [True, False]
    """


class EntityEmbeddingRegressor(NetworkRegressor, _TableNetwork):
    """Answers with a number for each row of a table by learning a vector for each category (Guo and Berkhahn, 2016).

    It prepares its columns as `EntityEmbeddingClassifier` does, and takes the same arguments; the target is
    standardised too.

    Attributes:
        n_iter_, best_iter_: how many epochs were trained, and which one was kept.

    Examples:
        >>> flights = pd.DataFrame({"dest": ["BOS", "ORD"] * 50})
        >>> minutes = flights["dest"].map({"BOS": 45.0, "ORD": 150.0})
        >>> model = EntityEmbeddingRegressor(["dest"], batch_size=10, dropout=0, max_iter=30, random_state=0)
        >>> model.fit(flights, minutes).predict(flights[:2]).round().tolist()
        [45.0, 150.0]
    """
