"""Defines `ScaleImages`: pixels scaled to 0 to 1, and averaged in square blocks."""

from collections.abc import Sequence
from functools import reduce

import numpy as np
import pandas as pd

from ml_platform.contract.transformer import DataTransformer
from ml_platform.errors import DataError, first_few
from ml_platform.schema import Column, Schema
from ml_platform.transformers.columns import NUMBERS, require_typed


class ScaleImages(DataTransformer):
    """Scales the pixels of images to numbers in [0, 1], and may take means of square blocks of them.

    Each row is an image, each of `columns` a pixel. With `pool`, each block becomes one pixel, the mean of the block,
    under the name of its upper left pixel; the block's other columns are left out.

    Args:
        columns: number or integer columns, the image row by row.
        maximum: the largest intensity that a pixel can have; it becomes 1.
        shape: rows and columns of an image; needed for `pool`.
        pool: the side of a block, in pixels.

    Examples:
        >>> images = pd.DataFrame([[0, 8, 16, 16], [4, 4, 0, 16]], columns=["p00", "p01", "p10", "p11"])
        >>> ScaleImages(["p00", "p01", "p10", "p11"], maximum=16).transform(images)
            p00   p01  p10  p11
        0  0.00  0.50  1.0  1.0
        1  0.25  0.25  0.0  1.0
        >>> ScaleImages(["p00", "p01", "p10", "p11"], maximum=16, shape=[2, 2], pool=2).transform(images)
             p00
        0  0.625
        1  0.375
    """

    depends_on_threads = False

    def __init__(self, columns: Sequence[str], maximum: float, shape: Sequence[int] | None = None, pool: int = 1):
        self.columns = columns
        self.maximum = maximum
        self.shape = shape
        self.pool = pool

    @property
    def input_schema(self) -> Schema:
        """Needs the pixels, in [0, maximum]."""
        return Schema(tuple(Column(name, NUMBERS, False, 0.0, float(self.maximum)) for name in self.columns))

    def output_schema(self, schema: Schema, **side: Schema) -> Schema:
        """Returns the pixels as numbers in [0, 1]; with `pool`, those of blocks.

        Raises:
            DataError: parameters that do not fit each other, or a column that is not there or no number.
        """
        self._require_parameters()
        require_typed(schema, self.columns, NUMBERS, "ScaleImages")
        kept = self._kept()
        rest = tuple(column for column in schema.columns if column.name in kept or column.name not in self.columns)
        return Schema(rest, schema.is_open).with_columns(Column(name, "number", False, 0.0, 1.0) for name in kept)

    def _require_parameters(self) -> None:
        if not self.maximum > 0:
            raise DataError(f"ScaleImages: maximum is {self.maximum!r}; expected more than 0")
        if self.pool < 1 or (self.pool > 1 and self.shape is None):
            raise DataError(f"ScaleImages: pool is {self.pool!r}; expected 1, or more and a shape")
        shape = self._shape()
        if len(shape) != 2 or min(shape) < 1 or shape[0] * shape[1] != len(self.columns):
            raise DataError(
                f"ScaleImages: shape is {self.shape!r}; expected [rows, columns] of {len(self.columns)} pixels"
            )
        if any(side % self.pool for side in shape) and self.pool > 1:
            raise DataError(
                f"ScaleImages: pool is {self.pool!r}; expected a side that divides {shape[0]} and {shape[1]}"
            )

    def _shape(self) -> tuple[int, ...]:
        return (1, len(self.columns)) if self.shape is None else tuple(self.shape)

    def _kept(self) -> list[str]:
        """Returns the name of the upper left pixel of each block."""
        names = np.array(list(self.columns), dtype=object).reshape(self._shape())
        kept = names[:: self.pool, :: self.pool] if self.pool > 1 else names
        return [str(name) for name in kept.ravel()]

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Scales the pixels."""
        self._require_parameters()
        require_typed(X, self.columns, NUMBERS, "ScaleImages")
        pixels = X[list(self.columns)].to_numpy("float64", na_value=np.nan)
        self._require_range(pixels)
        images, side = pixels.reshape(len(X), *self._shape()), range(self.pool)
        # Added one after the other, so that an image's bits do not depend on those that come with it.
        total = reduce(np.add, [images[:, row :: self.pool, column :: self.pool] for row in side for column in side])
        scaled = (total / (self.pool**2 * self.maximum)).reshape(len(X), -1)
        kept = self._kept()
        left_out = [name for name in self.columns if name not in kept]
        return X.drop(columns=left_out).assign(**{name: scaled[:, place] for place, name in enumerate(kept)})

    def _require_range(self, pixels: np.ndarray) -> None:
        # Negated, so that NaN, which compares false with anything, is wrong too.
        is_wrong = ~((pixels >= 0) & (pixels <= self.maximum))
        if is_wrong.any():
            found = [f"{pixels[row, place]:g} in {self.columns[place]!r}, row {row}"
                     for row, place in np.argwhere(is_wrong)[:5]]  # fmt: skip
            found += ["..."] * (int(is_wrong.sum()) - 5)
            raise DataError(f"ScaleImages: expected pixels in 0..{self.maximum:g}, found {first_few(found)}")
