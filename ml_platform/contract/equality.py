"""Compares two frames and finds the first column and row in which they differ."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

# How far answers may be apart where rows are computed in other chunks, as a part of the column's largest magnitude:
# the same row alone and in a batch differs by 1e-15 in a PCA, by 1e-7 in a layer of single precision.
TOLERANCES = {"float64": 1e-9, "float32": 1e-5, "float16": 1e-2}
_LAST_BITS = 1e-15


def first_difference(
    one: "pd.DataFrame", other: "pd.DataFrame", names: tuple[str, str], *, is_close_enough: bool = False
) -> tuple[str | None, int | None, list[str]] | None:
    """Finds the first column and row in which two frames differ; missing values are equal, indexes are not looked at.

    Args:
        names: what each side is called.
        is_close_enough: whether floats may differ within `TOLERANCES`.

    Returns:
        Column, row position, and what each side has there; None if there is no difference.
    """
    left, right = list(one.columns), list(other.columns)
    if left != right:
        # The longer one's column where one ends: padded by None, so that it differs from anything.
        column = next((a or b for a, b in zip([*left, None], [*right, None], strict=False) if a != b), None)
        return column, None, [f"{names[0]} has columns {left}", f"{names[1]} has {right}"]
    if len(one) != len(other):
        return None, min(len(one), len(other)), [f"{names[0]} has {len(one):,} rows", f"{names[1]} {len(other):,}"]
    scale = (lambda: _largest([one, other])) if is_close_enough else None
    for column, (_, mine), (_, theirs) in zip(left, one.items(), other.items(), strict=True):
        found = _in_column(mine, theirs, names, scale)
        if found is not None:
            return column, *found
    return None


def _in_column(
    one: "pd.Series", other: "pd.Series", names: tuple[str, str], scale: Callable[[], float] | None
) -> tuple[int | None, list[str]] | None:
    if one.dtype != other.dtype:
        return None, [f"{names[0]} has {_type(one)}", f"{names[1]} {_type(other)}"]
    if one.dtype != object and one.array.equals(other.array):
        return None  # most columns; what comes next is slower, and says where
    values = one.reset_index(drop=True), other.reset_index(drop=True)
    equal = _equal(*values)
    if scale is not None and not equal.all() and _digits(one.dtype):
        equal |= _close(*values, scale())
    if equal.all():
        return None
    row = int((~equal).to_numpy().argmax())
    shown = [f"{name} has {series.iloc[row]!r}" for name, series in zip(names, values, strict=True)]
    return row, [*shown, f"{int((~equal).sum()):,} rows differ"]


def _equal(one: "pd.Series", other: "pd.Series") -> "pd.Series":
    import pandas as pd

    if one.dtype == object:
        return pd.Series([_is_same(*pair) for pair in zip(one, other, strict=True)], dtype=bool)
    # Comparisons of nullable types give NA, which is no bool; missing on both sides counts as equal.
    same = (one == other).astype("boolean").fillna(False).astype(bool)
    return same | (one.isna() & other.isna())


def _is_same(one: Any, other: Any) -> bool:
    """Returns whether two cells of any kind are equal."""
    import numpy as np

    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return type(one) is type(other) and np.array_equal(one, other)
    # Cells of an object column may be anything, and their == may raise or return an array.
    return one is other or repr(one) == repr(other)


def _digits(dtype: Any) -> str:
    """Returns the name of a float type, numpy's, pandas' or Arrow's, as `TOLERANCES` has it; empty for others."""
    name = str(dtype).lower().removesuffix("[pyarrow]").replace("double", "float64")
    return name if name in TOLERANCES else ""


def _numbers(series: "pd.Series") -> Any:
    return series.to_numpy(dtype="float64", na_value=float("nan"))


def _largest(frames: "Sequence[pd.DataFrame]") -> float:
    import numpy as np

    found = [_numbers(column) for frame in frames for _, column in frame.items() if _digits(column.dtype)]
    return max((float(np.nanmax(np.abs(numbers[np.isfinite(numbers)]), initial=0.0)) for numbers in found), default=0.0)


def _close(one: "pd.Series", other: "pd.Series", scale: float) -> Any:
    """Returns which numbers differ by rounding alone, measured by the largest of their column and of the frame."""
    import numpy as np

    left, right = _numbers(one), _numbers(other)
    # Infinite values would allow any difference.
    finite = np.abs(left[np.isfinite(left)])
    # A column of differences near zero carries the rounding of the large columns that it was made of.
    allowed = max(TOLERANCES[_digits(one.dtype)] * np.max(finite, initial=0.0), _LAST_BITS * scale)
    return np.abs(left - right) <= allowed


def _type(series: "pd.Series") -> str:
    categories = getattr(series.dtype, "categories", None)
    return str(series.dtype) if categories is None else f"categories {list(categories)}"
