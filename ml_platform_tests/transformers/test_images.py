import numpy as np
import pandas as pd
import pytest

from ml_platform.errors import DataError
from ml_platform.schema import Schema
from ml_platform.transformers import ScaleImages

NAMES = [f"p{row}{column}" for row in range(2) for column in range(4)]
IMAGES = pd.DataFrame([[0, 4, 8, 8, 4, 8, 8, 0], [16] * 8], columns=NAMES).assign(label="x")


def test_intensities_become_numbers_from_0_to_1() -> None:
    found = ScaleImages(NAMES, 16).transform(IMAGES)
    assert found[NAMES].to_numpy().tolist() == [[0, 0.25, 0.5, 0.5, 0.25, 0.5, 0.5, 0], [1] * 8]
    assert list(found) == [*NAMES, "label"]


def test_blocks_become_their_means_under_the_name_of_the_upper_left_pixel() -> None:
    step = ScaleImages(NAMES, 16, shape=[2, 4], pool=2)
    found = step.transform(IMAGES)
    assert found[["p00", "p02"]].to_numpy().tolist() == [[0.25, 0.375], [1, 1]]
    schema = step.output_schema(Schema.of(**{name: "integer" for name in NAMES}, label="string"))
    assert list(found) == schema.names == ["p00", "p02", "label"]


@pytest.mark.parametrize(("pixel", "shown"), [(17.0, "17"), (-1.0, "-1"), (np.nan, "nan")])
def test_pixels_out_of_range_are_refused_by_column_and_row(pixel: float, shown: str) -> None:
    images = IMAGES.assign(p01=[1.0, pixel])
    with pytest.raises(DataError, match=rf"ScaleImages: expected pixels in 0\.\.16, found {shown} in 'p01', row 1"):
        ScaleImages(NAMES, 16).transform(images)


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({"maximum": 0}, "maximum is 0; expected more than 0"),
        ({"pool": 2}, "pool is 2; expected 1, or more and a shape"),
        ({"shape": [3, 3]}, r"shape is \[3, 3\]; expected \[rows, columns\] of 8 pixels"),
        ({"shape": [2, 4], "pool": 4}, "pool is 4; expected a side that divides 2 and 4"),
    ],
)
def test_parameters_that_do_not_fit_each_other_are_refused(parameters: dict[str, object], why: str) -> None:
    step = ScaleImages(NAMES, **{"maximum": 16, **parameters})  # type: ignore[arg-type]
    with pytest.raises(DataError, match=f"ScaleImages: {why}"):
        step.output_schema(Schema(is_open=True))
