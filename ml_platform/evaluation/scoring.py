"""What does an approved model say of new rows?"""

from typing import Any

import pandas as pd

from ml_platform.pipeline.compiled import CompiledPipeline


def score_partition(pipeline: CompiledPipeline, estimator: Any, threshold: float, frame: pd.DataFrame) -> pd.DataFrame:
    """Gives each row's key, its probability and the answer at the threshold.

    Returns:
        A frame with the key's columns, `probability` in [0, 1] and `predicted_<target>`.
    """
    probability = estimator.predict_proba(frame[pipeline.spec.features.columns])[:, 1]
    answers = {"probability": probability, f"predicted_{pipeline.spec.target}": probability >= threshold}
    return frame[list(pipeline.features.key)].assign(**answers)
