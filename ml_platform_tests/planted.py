"""Transformers whose answers depend on what no version can see: an environment variable stands for it."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from ml_platform.transformers import SQL


class UnsortedSQL(SQL):
    """A query without an order, on a day when the engine gives its rows the other way round."""

    @contextmanager
    def transform_files(self, paths: Sequence[Path], **side: Sequence[Path]) -> Iterator[Any]:
        with super().transform_files(paths, **side) as reader:
            table = reader.read_all()
            rows = list(range(table.num_rows))
            yield table.take(pa.array(rows[::-1] if "PLANTED_ORDER" in os.environ else rows)).to_reader()
