import numpy as np
import pandas as pd
import pytest

from ml_platform.errors import DataError
from ml_platform.schema import Schema
from ml_platform.transformers import Clip

SEEN = pd.DataFrame({"v": [0, 10, 20, 30, 40]})


def test_values_are_held_between_the_quantiles_and_missing_ones_stay() -> None:
    step = Clip(["v"], 0.25, 0.75).fit(SEEN)
    found = step.transform(pd.DataFrame({"v": [-5.0, 15.0, 99.0, None, np.inf]}))["v"]
    np.testing.assert_equal(found.to_numpy(), [10.0, 15.0, 30.0, np.nan, 30.0])


def test_missing_training_values_do_not_count() -> None:
    assert Clip(["v"], 0, 1).fit(pd.DataFrame({"v": [None, 1.0, 3.0]})).bounds_ == {"v": [1.0, 3.0]}


def test_quantiles_out_of_order_are_refused() -> None:
    with pytest.raises(DataError, match=r"Clip: expected quantiles .* found lower = 0\.9 and upper = 0\.1"):
        Clip(["v"], 0.9, 0.1).output_schema(Schema.of(v="number"))


@pytest.mark.parametrize("values", [[np.nan, np.nan], [-np.inf, 1.0]])
def test_training_rows_without_finite_quantiles_are_refused(values: list[float]) -> None:
    with pytest.raises(DataError, match="Clip: column 'v': expected finite numbers in the training rows, found"):
        Clip(["v"]).fit(pd.DataFrame({"v": values}))
