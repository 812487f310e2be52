"""What is the first thing in which two frames differ?"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

# How far answers may be apart where rows are computed in other chunks, as a part of the column's largest magnitude:
# the same row alone and in a batch differs by 1e-15 in a PCA, by 1e-7 in a layer of single precision.
TOLERANCES = {"float64": 1e-9, "float32": 1e-5, "float16": 1e-2}


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
        column = next((a or b for a, b in zip([*left, None], [*right, None], strict=False) if a != b), None)
        return column, None, [f"{names[0]} has columns {left}", f"{names[1]} has {right}"]
    if len(one) != len(other):
        return None, min(len(one), len(other)), [f"{names[0]} has {len(one):,} rows", f"{names[1]} {len(other):,}"]
    for place, column in enumerate(left):
        found = _in_column(one.iloc[:, place], other.iloc[:, place], names, is_close_enough)
        if found is not None:
            return column, *found
    return None


def _in_column(
    one: "pd.Series", other: "pd.Series", names: tuple[str, str], is_close_enough: bool
) -> tuple[int | None, list[str]] | None:
    if one.dtype != other.dtype:
        return None, [f"{names[0]} has {_type(one)}", f"{names[1]} {_type(other)}"]
    values = one.reset_index(drop=True), other.reset_index(drop=True)
    equal = (values[0] == values[1]) | (values[0].isna() & values[1].isna())
    if is_close_enough and str(one.dtype) in TOLERANCES and not equal.all():
        equal |= _close(*values)
    if equal.all():
        return None
    row = int((~equal).to_numpy().argmax())
    shown = [f"{name} has {series.iloc[row]!r}" for name, series in zip(names, values, strict=True)]
    return row, [*shown, f"{int((~equal).sum()):,} rows differ"]


def _close(one: "pd.Series", other: "pd.Series") -> Any:
    import numpy as np

    scale = np.nanmax(np.abs(np.where(np.isfinite(one), one, 0.0)), initial=0.0)
    return (one - other).abs() <= TOLERANCES[str(one.dtype)] * scale


def _type(series: "pd.Series") -> str:
    categories = getattr(series.dtype, "categories", None)
    return str(series.dtype) if categories is None else f"categories {list(categories)}"
