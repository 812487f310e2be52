import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits

from ml_platform.errors import DataError
from ml_platform.models import ConvolutionalClassifier
from ml_platform.models.images import shifted

PIXELS, DIGITS = load_digits(return_X_y=True, as_frame=True)


@pytest.mark.full
def test_it_reads_digits_of_other_writers() -> None:
    model = ConvolutionalClassifier([8, 8], random_state=0).fit(PIXELS[:898], DIGITS[:898])
    assert model.score(PIXELS[898:], DIGITS[898:]) >= 0.97
    assert model.classes_.tolist() == list(range(10))
    alone = model.predict_proba(PIXELS[5:6])
    np.testing.assert_allclose(alone, model.predict_proba(PIXELS[:50])[5:6], rtol=0, atol=1e-6)


def test_two_fits_are_equal_bytes() -> None:
    first, second = (
        ConvolutionalClassifier([8, 8], max_iter=1, random_state=3).fit(PIXELS[:200], DIGITS[:200]) for _ in range(2)
    )
    np.testing.assert_array_equal(first.predict_proba(PIXELS), second.predict_proba(PIXELS))


@pytest.mark.parametrize("shape", [[4, 6], [4, 3, 2], [2, 2, 6], [1, 24]])
def test_small_images_of_any_shape_can_be_learnt(shape: list[int]) -> None:
    labels = np.where(DIGITS[:100] > 4, "high", "low")
    model = ConvolutionalClassifier(shape, max_iter=1, random_state=0).fit(PIXELS.iloc[:100, :24], labels)
    assert set(model.predict(PIXELS.iloc[:100, :24])) <= {"high", "low"}


def test_the_last_index_of_a_table_runs_fastest() -> None:
    model = ConvolutionalClassifier([2, 3, 2], max_iter=1, random_state=0)
    rows = np.vstack([np.arange(12), np.arange(12)])
    images = model.fit(rows, [0, 1])._inputs(pd.DataFrame(rows))[0]  # [images, channels, rows, columns]
    np.testing.assert_allclose(images[0] * 11, [[[0, 2, 4], [6, 8, 10]], [[1, 3, 5], [7, 9, 11]]], rtol=1e-6)


def test_a_shift_moves_whole_images_by_at_most_so_many_pixels() -> None:
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    torch.manual_seed(0)
    moved = shifted(image.expand(200, 2, 4, 4), 1)
    assert {tuple((image_[0, 1:3, 1:3].flatten() - torch.tensor([5, 6, 9, 10])).tolist()) for image_ in moved} == {
        (float(4 * down + right),) * 4 for down in (-1, 0, 1) for right in (-1, 0, 1)
    }
    assert torch.equal(moved[:, 0], moved[:, 1])  # channels move together
    assert torch.equal(shifted(image, 0), image)


@pytest.mark.parametrize(
    ("shape", "change", "told"),
    [
        ([8, 9], {}, r"64 columns; shape \[8, 9\] takes 8 \* 9 = 72"),
        ([64], {}, r"shape is \[64\]; expected rows and columns"),
        ([8, 8], {"pixel_0_3": "dark"}, "column 'pixel_0_3' is (str|object); expected numbers"),
        ([8, 8], {"pixel_0_3": np.nan}, "column 'pixel_0_3' holds missing or infinite numbers"),
    ],
)
def test_what_is_no_image_is_refused(shape: list[int], change: dict, told: str) -> None:
    with pytest.raises(DataError, match=f"ConvolutionalClassifier: {told}"):
        ConvolutionalClassifier(shape).fit(PIXELS.assign(**change), DIGITS)
