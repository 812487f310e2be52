"""Defines the register of broken transformers, which the battery must catch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ml_platform_tests.contract.battery.zoo.rows import WEATHER


@dataclass(frozen=True)
class Specimen:
    """A transformer, the promise it was made to break, and which others may break with it."""

    build: Callable[[], Any]
    breaks: str
    also: frozenset[str] = frozenset()
    side: Mapping[str, pd.DataFrame] = field(default_factory=dict)


BROKEN: dict[str, Specimen] = {}


def breaks(promise: str, *also: str, given: Mapping[str, Any] | None = None, side: bool = False) -> Any:
    """Puts a class into the zoo."""

    def put(kind: type) -> type:
        frames = {"weather": WEATHER} if side else {}
        BROKEN[kind.__name__] = Specimen(lambda: kind(**(given or {})), promise, frozenset(also), frames)
        return kind

    return put
