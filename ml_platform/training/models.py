"""How is one candidate model trained, and how good is it before anyone looks at the test?"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ml_platform.artifacts import Fitted, Frames
from ml_platform.errors import DataError
from ml_platform.pipeline.compiled import CompiledPipeline
from ml_platform.pipeline.running import lineage
from ml_platform.pipeline.splitting import Cut, Role, narrow, read_rows


def train_model(
    pipeline: CompiledPipeline,
    name: str,
    frames: Frames,
    cut: Cut,
    report: Callable[[str], None] = lambda _: None,
) -> Fitted:
    """Fits on the training rows, scores the validation rows, then fits again on both for use.

    Args:
        frames: of the features step.
        report: told what is being done, for people who wait.

    Returns:
        The final estimator; its facts hold rows, split, features, and the validation's scores and threshold.
    """
    states = lineage(narrow(frames, cut, ["train", "validation"]).parts.values())
    _check_same_cut(pipeline, states, cut)
    trial = pipeline.build_model(name)
    train = _rows(pipeline, frames, cut, ["train"])
    validation = _rows(pipeline, frames, cut, ["validation"])
    report(f"{name}: fitting on {len(train[0]):,} rows")
    trial.fit(*train)
    scores = _validate(trial, *validation)
    both = pd.concat([train[0], validation[0]], ignore_index=True), np.concatenate([train[1], validation[1]])
    report(f"{name}: log loss {scores['log_loss']:.4f} on validation; fitting again on {len(both[0]):,} rows")
    final = pipeline.build_model(name)
    final.fit(*both)
    facts = {
        "rows_train": len(both[0]),
        "rows_train_without_validation": len(train[0]),
        "validation": scores,
        "split": cut.facts(),
        "features": pipeline.spec.features.columns,
    }
    return Fitted.of(final, facts)


def features_and_target(pipeline: CompiledPipeline, frame: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Takes features (as declared, in that order) and the target (0 and 1) from a frame.

    Raises:
        DataError: a target that is anything else.
    """
    target = frame[pipeline.spec.target]
    if not target.isin([0, 1]).all():
        found = sorted(map(repr, set(target.unique().tolist()) - {0, 1}))[:3]
        raise DataError(f"target {pipeline.spec.target!r}: expected 0 and 1 (or booleans), found {', '.join(found)}")
    return frame[pipeline.spec.features.columns], target.to_numpy(dtype="int64")


def _rows(pipeline: CompiledPipeline, frames: Frames, cut: Cut, roles: list[Role]) -> tuple[pd.DataFrame, np.ndarray]:
    columns = [*pipeline.spec.features.columns, pipeline.spec.target]
    features, target = features_and_target(pipeline, read_rows(frames, cut, roles, columns, pipeline.features.key))
    require_both_classes(target, " and ".join(roles))
    return features, target


def require_both_classes(target: np.ndarray, role: str) -> None:
    """Refuses rows that are all 0 or all 1: nothing can be learnt from or scored on them.

    Raises:
        DataError: names the role, the rows and the class that they have.
    """
    classes = np.unique(target)
    if len(classes) < 2:
        raise DataError(
            f"all {len(target):,} {role} rows have target {classes.tolist()}; expected 0 and 1; widen the split"
        )


def _validate(estimator: Any, features: pd.DataFrame, target: np.ndarray) -> dict[str, Any]:
    """Scores a trial fit; the threshold is where F1 is highest on these rows."""
    from sklearn.metrics import log_loss, precision_recall_curve, roc_auc_score

    probability = estimator.predict_proba(features)[:, 1]
    precision, recall, thresholds = precision_recall_curve(target, probability)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return {
        "rows": len(target),
        "log_loss": float(log_loss(target, probability)),
        "roc_auc": float(roc_auc_score(target, probability)),
        "threshold": float(thresholds[f1[:-1].argmax()]),
    }


def _check_same_cut(pipeline: CompiledPipeline, states: Mapping[str, Any], cut: Cut) -> None:
    """Refuses features whose fitted steps saw other training rows than this model will."""
    for name, state in states.items():
        if "split" in state and state["split"] != cut.facts():
            asset, fitted = pipeline.features.asset, pipeline.steps[name].fitted_asset
            raise DataError(
                f"{asset} went through {fitted}, fitted for {state['split']}; this run splits {cut.facts()}; "
                f"materialize {fitted} and {asset} again for this split"
            )
