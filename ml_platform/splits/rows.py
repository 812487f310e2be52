"""Reads only the partitions and rows that a split assigns to given roles (train, validation, test)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ml_platform.artifacts import Frames
from ml_platform.errors import DataError, require_columns
from ml_platform.splits.base import Role, Split

if TYPE_CHECKING:
    import pandas as pd


def partitions_with(frames: Frames, split: Split, roles: Sequence[Role]) -> Frames:
    """Keeps only the partitions that hold rows of these roles."""
    return frames.only(split.partitions(roles) if frames.is_partitioned else None)


def read_rows(
    frames: Frames, split: Split, roles: Sequence[Role], columns: Sequence[str], key: Sequence[str]
) -> "pd.DataFrame":
    """Reads the rows of some roles: only their partitions, only these columns (and the key).

    Raises:
        DataError: if there are none.
    """
    used = partitions_with(frames, split, roles)
    wanted = list(dict.fromkeys([*key, *columns]))
    require_columns(used.columns, wanted, frames.asset)
    frame = used.read_all(wanted)
    # None means all rows; an array of trues would copy a frame of gigabytes.
    mask = split.mask(frame, roles)
    chosen = frame if mask is None else frame[mask].reset_index(drop=True)
    if chosen.empty:
        raise DataError(f"{frames.asset}: no rows for {' and '.join(roles)} as of {split.facts()}")
    return chosen
