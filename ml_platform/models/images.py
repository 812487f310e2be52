"""Defines `ConvolutionalClassifier`, a network for small images in table columns."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ml_platform.models.network import Batch, NetworkClassifier


class ConvolutionalModule(nn.Module):
    """Convolutions that halve the image as they go on, then dense layers.

    Each image is normalised by itself, so that its answer does not depend on those beside it; averages are pooled,
    whose gradients accelerators add up in a fixed order.

    Args:
        shape: rows, columns and channels of an image.
        filters: the width of each convolution; from the second on, each is followed by pooling to half the size.
        hidden: the widths of the dense layers.
        dropout: the share of values left out in training, before each dense layer.
        outputs: how many values come out.
    """

    def __init__(
        self, shape: Sequence[int], filters: Sequence[int], hidden: Sequence[int], dropout: float, outputs: int
    ):
        super().__init__()
        rows, columns, channels = shape
        layers = nn.Sequential()
        for place, into in enumerate(filters):
            # GroupNorm of one group is normalisation by image: BatchNorm would make an answer depend on the batch.
            layers.extend([nn.Conv2d(channels, into, 3, padding=1), nn.GroupNorm(1, into), nn.ReLU()])
            channels = into
            if place and min(rows, columns) > 1:
                layers.append(nn.AvgPool2d(2))
                rows, columns = rows // 2, columns // 2
        layers.append(nn.Flatten())
        width = channels * rows * columns
        for into in hidden:
            layers.extend([nn.Dropout(dropout), nn.Linear(width, into), nn.ReLU()])
            width = into
        self.layers = layers.extend([nn.Dropout(dropout), nn.Linear(width, outputs)])

    def forward(self, images: Tensor) -> Tensor:
        """Takes images [images, channels, rows, columns]; returns [images, outputs]."""
        answer: Tensor = self.layers(images)
        return answer


def shifted(images: Tensor, most: int) -> Tensor:
    """Moves each image [images, channels, rows, columns] by up to so many pixels; its edges are repeated."""
    count, _, rows, columns = images.shape
    moves = torch.randint(-most, most + 1, (2, count, 1), device=images.device)
    # Indexed by clamped positions, which repeats the edges; padding and cropping each image by itself would need a
    # loop.
    from_row = (torch.arange(rows, device=images.device) + moves[0]).clamp(0, rows - 1)  # [images, rows]
    from_column = (torch.arange(columns, device=images.device) + moves[1]).clamp(0, columns - 1)
    image = torch.arange(count, device=images.device)[:, None, None]
    moved = images.permute(0, 2, 3, 1)[image, from_row[:, :, None], from_column[:, None, :]]
    return moved.permute(0, 3, 1, 2)


class ConvolutionalClassifier(NetworkClassifier):
    """Tells small images apart, which come as rows of pixels.

    Args:
        shape: rows and columns of an image, then channels if there is more than one; the table has a column for each
            of these numbers, the last index running fastest.
        filters: the width of each convolution.
        hidden_layer_sizes: the widths of the dense layers behind them.
        dropout: the share of values left out in training, before each dense layer.
        shift: in training each image is moved by up to so many pixels to any side; 0 leaves it.
        batch_size: images a step.
        learning_rate_init: the highest learning rate of the one cycle.
        max_iter: epochs at most.
        alpha: weight decay.
        validation_fraction: the share of images held out to find the best epoch; 0 trains on all to the end.
        n_iter_no_change: stops this many epochs after the best one.
        random_state: the seed; equal seeds give equal bytes on equal devices and numbers of threads.

    Attributes:
        classes_: the classes, sorted; the columns of `predict_proba`.
        lowest_, highest_: the range of the training images' pixels, which is taken to 0 to 1.

    Examples:
        >>> bright = np.repeat([[0, 0, 9, 9], [9, 9, 0, 0]], 20, axis=0)
        >>> half = ["below"] * 20 + ["above"] * 20
        >>> model = ConvolutionalClassifier([2, 2], shift=0, random_state=0).fit(bright, half)
        >>> model.predict([[8, 9, 0, 0]]).tolist()
        ['above']
    """

    def __init__(  # noqa: PLR0913  (scikit-learn's parameters are arguments)
        self,
        shape: Sequence[int],
        *,
        filters: Sequence[int] = (32, 64, 64),
        hidden_layer_sizes: Sequence[int] = (),
        dropout: float = 0.3,
        shift: int = 1,
        batch_size: int = 64,
        learning_rate_init: float = 0.01,
        max_iter: int = 30,
        alpha: float = 0.01,
        validation_fraction: float = 0.0,
        n_iter_no_change: int = 10,
        random_state: int | None = None,
    ):
        self.shape = shape
        self.filters = filters
        self.hidden_layer_sizes = hidden_layer_sizes
        self.dropout = dropout
        self.shift = shift
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.alpha = alpha
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.random_state = random_state

    def _learn_inputs(self, frame: pd.DataFrame) -> None:
        if len(self.shape) not in (2, 3) or min(self.shape) < 1:
            raise self._refusal(
                f"shape is {self.shape!r}; expected rows and columns, and channels if there are several"
            )
        if frame.shape[1] != math.prod(self.shape):
            told = " * ".join(map(str, self.shape))
            raise self._refusal(
                f"{frame.shape[1]} columns; shape {self.shape!r} takes {told} = {math.prod(self.shape)}"
            )
        pixels = self._pixels(frame)
        self.lowest_, self.highest_ = float(pixels.min()), float(pixels.max())

    def _inputs(self, frame: pd.DataFrame) -> tuple[Tensor, ...]:
        # A constant image set has no span.
        span = self.highest_ - self.lowest_ or 1.0
        pixels = ((self._pixels(frame) - self.lowest_) / span).astype(np.float32)
        # Rows of a table have the last index (channels) running fastest; torch wants channels first.
        images = torch.from_numpy(pixels).reshape(len(frame), *self._dimensions)
        return (images.permute(0, 3, 1, 2).contiguous(),)

    def _pixels(self, frame: pd.DataFrame) -> np.ndarray:
        """Returns the pixels in double precision, [images, pixels]."""
        for name, kind in frame.dtypes.items():
            if not pd.api.types.is_numeric_dtype(kind):
                raise self._refusal(f"column {name!r} is {kind}; expected numbers, one column a pixel")
        pixels: np.ndarray = frame.to_numpy(np.float64, na_value=np.nan)
        broken = ~np.isfinite(pixels).all(axis=0)
        if broken.any():
            raise self._refusal(f"column {frame.columns[broken][0]!r} holds missing or infinite numbers")
        return pixels

    @property
    def _dimensions(self) -> tuple[int, int, int]:
        rows, columns, *channels = self.shape
        return rows, columns, channels[0] if channels else 1

    def _module(self, outputs: int) -> nn.Module:
        return ConvolutionalModule(self._dimensions, self.filters, self.hidden_layer_sizes, self.dropout, outputs)

    def _augmented(self, batch: Batch) -> Batch:
        return Batch((shifted(batch.inputs[0], self.shift),), batch.target) if self.shift else batch
