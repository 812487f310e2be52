"""The handwritten digits that scikit-learn brings: 1,797 images of 8 by 8 pixels, 16 shades each.

Source: the test set of "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak (1998), UCI Machine
Learning Repository, https://doi.org/10.24432/C50P49 (CC BY 4.0), as scikit-learn's package has it.
"""

from ml_platform.schema import Schema
from ml_platform.sources.tables import TableSource

IMAGES = TableSource(
    name="digits",
    package="sklearn",
    file="datasets/data/digits.csv.gz",
    grain="one image of a handwritten digit",
    key=("image",),
    has_header=False,
    numbered="image",
    schema=Schema.of(
        **{f"pixel_{place}": "integer 0..16" for place in range(64)},  # row by row, from the top left
        digit="integer 0..9",
        image="integer",
    ),
)
