"""Transforms in-memory rows through a pipeline's steps, and names the step that rejects or drops a row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ml_platform.artifacts import Fitted, Frames
from ml_platform.errors import DataError, RowsRefused, first_few, naming, require_columns
from ml_platform.pipeline.compiled import CompiledPipeline, CompiledStep
from ml_platform.runtime.steps import plain_output_dtypes, transform_frame


def path_to(pipeline: CompiledPipeline, last: str) -> list[str]:
    """Lists the source and the steps that a frame goes through, first inputs only, up to `last`."""
    path = [last]
    while path[0] in pipeline.steps:
        path.insert(0, pipeline.steps[path[0]].use.inputs[0])
    return path


@dataclass(frozen=True)
class RowPath:
    """The steps between where rows come in and where they are wanted, with what is looked up on the way.

    Attributes:
        entry: the source or step whose rows come in.
        steps: those after it.
        key: what identifies a row that comes in.
        sides: the other inputs of the steps, whole, by name.
    """

    entry: str
    steps: Sequence[CompiledStep]
    key: Sequence[str]
    sides: Mapping[str, Frames]
    _read: dict[str, pd.DataFrame] = field(default_factory=dict)

    def fit(self, rows: pd.DataFrame, labels: pd.Series | None, target: str) -> tuple[pd.DataFrame, dict[str, Fitted]]:
        """Fits the steps that learn on these rows, all of which are training rows; filters apply.

        Returns:
            The rows as they come out, and the fitted steps.
        """
        self._require_history()
        require_unique(rows, self.key, self.entry)
        fitted = {}
        for step in self.steps:
            transformer, side = step.build(), self._side(step)
            if step.learns:
                given = rows[step.columns] if step.columns else rows
                # By key, as a filter before may have dropped rows, and a step may have sorted them.
                known = rows.get(target) if labels is None else _aligned(labels, rows, self.key)
                with naming(step.asset):
                    transformer.fit(given, known, **side)
                fitted[step.name] = Fitted.of(transformer, plain_output_dtypes(step, transformer, rows))
            with naming(step.asset):
                rows = transform_frame(step, transformer, rows, side)
        return rows, fitted

    def transform(self, rows: pd.DataFrame, fitted: Mapping[str, Fitted]) -> pd.DataFrame:
        """Transforms rows that all must get an answer, in their order and with their index.

        Raises:
            RowsRefused: rows that a step drops.
        """
        self._require_history()
        require_unique(rows, self.key, self.entry)
        result = rows
        for step in self.steps:
            transformer = fitted[step.name].estimator if step.learns else step.build()
            known = fitted[step.name].facts if step.learns else {}
            with naming(step.asset):
                result = transform_frame(step, transformer, result, self._side(step), known)
            self._require_all(step, rows, result)
        order = _index(result, self.key).get_indexer(_index(rows, self.key))
        return result.iloc[order].set_axis(rows.index)

    def _require_history(self) -> None:
        """Refuses steps whose answers depend on earlier rows, which rows that come by themselves do not have."""
        for step in self.steps:
            if step.in_time is not None:
                raise DataError(
                    f"step {step.name!r} looks {step.lookback} back in its own rows, which rows by themselves do not "
                    f"have; let rows enter behind it: .after({step.name!r})"
                )

    def _side(self, step: CompiledStep) -> dict[str, pd.DataFrame]:
        for name in step.side_inputs:
            if name not in self._read:
                self._read[name] = self.sides[name].read_all()
        return {name: self._read[name] for name in step.side_inputs}

    def _require_all(self, step: CompiledStep, rows: pd.DataFrame, result: pd.DataFrame) -> None:
        if any(column not in result for column in self.key):
            raise DataError(
                f"step {step.name!r} gives one row for {step.grain}, which cannot be told from rows of {self.entry!r} "
                f"one by one; let rows enter behind it: .after({step.name!r})"
            )
        twice = int(result.duplicated(list(self.key)).sum())
        if twice:
            raise DataError(
                f"step {step.name!r} gives {twice:,} rows twice; a row gets one answer: does a lookup find several?"
            )
        lost = np.flatnonzero(_index(result, self.key).get_indexer(_index(rows, self.key)) < 0)
        if len(lost):
            shown = [dict(zip(self.key, map(str, values), strict=True)) for values in
                     rows.iloc[lost[:3]][list(self.key)].itertuples(index=False)]  # fmt: skip
            raise RowsRefused(
                f"step {step.name!r} drops {len(lost):,} of {len(rows):,} rows, so they get no answer: "
                f"{first_few(shown, 3)}; leave them out, or let rows enter behind it: .after({step.name!r})",
                step.name,
                [int(place) for place in lost],
            )


def require_unique(rows: pd.DataFrame, key: Sequence[str], entry: str) -> None:
    """Refuses rows that cannot be told apart.

    Raises:
        DataError: a key column that is missing, or rows that share a key.
    """
    require_columns(rows.columns, key, f"rows of {entry!r}")
    twice = np.flatnonzero(rows.duplicated(list(key), keep=False))
    if len(twice):
        raise DataError(
            f"rows of {entry!r}: {len(twice):,} rows share a key ({', '.join(key)}), first at positions "
            f"{first_few(list(twice))}; expected each row once"
        )


def _index(rows: pd.DataFrame, key: Sequence[str]) -> pd.Index:
    return pd.Index(rows[key[0]]) if len(key) == 1 else pd.MultiIndex.from_frame(rows[list(key)])


def labels_by_key(rows: pd.DataFrame, labels: Any, key: Sequence[str]) -> pd.Series:
    """Ties labels to the keys of their rows, so that they follow the rows through filters and sorting."""
    if len(labels) != len(rows):
        raise DataError(f"{len(rows):,} rows and {len(labels):,} labels; expected as many")
    return pd.Series(np.asarray(labels), index=_index(rows, key))


def _aligned(labels: pd.Series, rows: pd.DataFrame, key: Sequence[str]) -> pd.Series:
    return pd.Series(labels.reindex(_index(rows, key)).to_numpy(), index=rows.index)


def aligned(labels: pd.Series, rows: pd.DataFrame, key: Sequence[str]) -> np.ndarray:
    """Returns the labels of the rows that are left, in their order."""
    found: np.ndarray = _aligned(labels, rows, key).to_numpy()
    return found
