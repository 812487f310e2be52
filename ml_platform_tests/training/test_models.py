import logging

import numpy as np
import pandas as pd
import pytest

from ml_platform.errors import DataError
from ml_platform.pipeline import load_pipeline
from ml_platform.tasks import TASKS
from ml_platform.training.models import features_and_target, reporting
from ml_platform_tests.platform import YAML


def test_a_target_other_than_0_and_1_is_refused_with_what_was_found() -> None:
    pipeline = load_pipeline(YAML)
    frame = pd.DataFrame({name: [0.0, 0.0] for name in pipeline.spec.features.columns} | {"late": [1, 7]})
    with pytest.raises(DataError, match=r"target 'late': expected 0 and 1 .* found 7"):
        features_and_target(pipeline, frame)


def test_rows_of_one_class_are_refused_by_role() -> None:
    with pytest.raises(DataError, match=r"all 3 validation rows have target \[0\]; expected 0 and 1"):
        TASKS["binary"].require_learnable(np.zeros(3, dtype="int64"), "validation")


def test_features_come_in_their_declared_order() -> None:
    pipeline = load_pipeline(YAML)
    columns = pipeline.spec.features.columns
    frame = pd.DataFrame({name: [0.0] for name in reversed(columns)} | {"late": [True]})
    features, target = features_and_target(pipeline, frame)
    assert list(features.columns) == columns
    assert target.tolist() == [1]


def test_what_a_model_tells_of_its_training_is_passed_on_and_the_logger_is_left_as_it_was() -> None:
    logger, told = logging.getLogger("ml_platform.models"), []
    before = logger.level, logger.propagate, list(logger.handlers)
    with reporting(told.append, "network"):
        logger.info("epoch %d of %d", 3, 20)
    assert told == ["network: epoch 3 of 20"]
    assert (logger.level, logger.propagate, logger.handlers) == before
