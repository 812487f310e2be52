"""Trains one candidate model, and scores it on the validation rows."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd

from ml_platform.artifacts import Fitted, Frames
from ml_platform.artifacts.lineage import lineage
from ml_platform.errors import DataError
from ml_platform.pipeline.compiled import CompiledPipeline
from ml_platform.splits import Role, Split, partitions_with, read_rows
from ml_platform.tasks import TASKS, Task, label_of


def train_model(
    pipeline: CompiledPipeline,
    name: str,
    frames: Frames,
    split: Split,
    report: Callable[[str], None] = lambda _: None,
) -> Fitted:
    """Fits on the training rows, scores the validation rows, then fits again on both for use.

    Args:
        frames: of the features step.
        report: told what is being done, for people who wait.

    Returns:
        The final estimator; its facts hold rows, split, features, and the validation's scores and threshold.
    """
    states = lineage(partitions_with(frames, split, ["train", "validation"]).parts.values())
    _check_same_split(pipeline, states, split)
    task, trial = TASKS[pipeline.spec.task], pipeline.build_model(name)
    train = _rows(pipeline, frames, split, ["train"])
    validation = _rows(pipeline, frames, split, ["validation"])
    report(f"{name}: fitting on {len(train[0]):,} rows")
    # Two fits: scores and threshold are of rows that the first has not seen; the second learns from these, too.
    with reporting(report, name):
        trial.fit(*train)
    scores = _validate(task, trial, *validation)
    both = pd.concat([train[0], validation[0]], ignore_index=True), np.concatenate([train[1], validation[1]])
    score = f"{label_of(task.selected_by)} {scores[task.selected_by]:.4f}"
    report(f"{name}: {score} on validation; fitting again on {len(both[0]):,} rows")
    final = pipeline.build_model(name)
    with reporting(report, name):
        final.fit(*both)
    facts = {
        "rows_train": len(both[0]),
        "rows_train_without_validation": len(train[0]),
        "validation": scores,
        "classes": task.classes(final),
        "split": split.facts(),
        "features": pipeline.spec.features.columns,
    }
    return Fitted.of(final, facts)


@contextmanager
def reporting(report: Callable[[str], None], name: str) -> Iterator[None]:
    """Passes on what a model logs while it trains: the records of the logger `ml_platform.models`."""
    logger, handler = logging.getLogger("ml_platform.models"), logging.Handler(logging.INFO)
    handler.emit = lambda record: report(f"{name}: {record.getMessage()}")  # type: ignore[method-assign]
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # else Dagster's own handlers print them a second time
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


def features_and_target(pipeline: CompiledPipeline, frame: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Takes features (as declared, in that order) and the target from a frame.

    Raises:
        DataError: a target that is none for the pipeline's task.
    """
    target = TASKS[pipeline.spec.task].target(frame[pipeline.spec.target])
    return frame[pipeline.spec.features.columns], target


def _rows(
    pipeline: CompiledPipeline, frames: Frames, split: Split, roles: list[Role]
) -> tuple[pd.DataFrame, np.ndarray]:
    columns = [*pipeline.spec.features.columns, pipeline.spec.target]
    features, target = features_and_target(pipeline, read_rows(frames, split, roles, columns, pipeline.features.key))
    TASKS[pipeline.spec.task].require_learnable(target, " and ".join(roles))
    return features, target


def _validate(task: Task, estimator: Any, features: pd.DataFrame, target: np.ndarray) -> dict[str, Any]:
    """Scores a trial fit."""
    answer, truth = task.answer(estimator, features), task.truth(target, task.classes(estimator))
    threshold = task.threshold(truth, answer)
    return {
        "rows": len(target),
        **task.score(truth, answer),
        **({} if threshold is None else {"threshold": threshold}),
    }


def _check_same_split(pipeline: CompiledPipeline, states: Mapping[str, Any], split: Split) -> None:
    """Refuses features whose fitted steps saw other training rows than this model will."""
    for name, state in states.items():
        if "split" in state and state["split"] != split.facts():
            asset, fitted = pipeline.features.asset, pipeline.steps[name].fitted_asset
            raise DataError(
                f"{asset} went through {fitted}, fitted for {state['split']}; this run splits {split.facts()}; "
                f"materialize {fitted} and {asset} again for this split"
            )
