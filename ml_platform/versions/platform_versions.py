"""Defines version numbers that stand for the platform's own code in cache keys, raised by hand.

A comma in an error message of the platform must not train every model of every user again at the next upgrade, so
the source of what reads, stores, splits, fits, scores and judges is no part of a value's cache key: a number a kind of
value is. Whoever changes what equal inputs become raises the number in the same commit; the golden-bytes tests
(`ml_platform_tests/versions/test_golden.py`) fail until that is done. Classes of steps and models, the platform's own
among them, are hashed (`closure.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class RunnerVersion:
    """What the platform does around the classes that a pipeline names.

    Attributes:
        number: raised whenever equal inputs give other bytes or other facts than before.
        libraries: top-level names of the libraries that it computes with: their versions stay a part of the cache key.
    """

    number: int
    libraries: tuple[str, ...]


_OF_MODELS = ("numpy", "pandas", "pandera", "pyarrow", "pydantic", "safetensors", "sklearn", "skops")

# By kind of value.
RUNNERS: Mapping[str, RunnerVersion] = {
    "source": RunnerVersion(1, ("numpy", "pandas", "pandera", "pyarrow")),
    "frame": RunnerVersion(1, ("pandas", "pandera", "pyarrow", "sklearn")),
    "fitted": RunnerVersion(
        1, ("numpy", "pandas", "pandera", "pyarrow", "pydantic", "safetensors", "sklearn", "skops")
    ),
    "model": RunnerVersion(1, _OF_MODELS),
    "selection": RunnerVersion(2, ("numpy", "pandas", "pandera", "pyarrow", "pydantic", "sklearn")),
    "evaluation": RunnerVersion(
        2, ("jinja2", "matplotlib", "numpy", "pandas", "pandera", "pyarrow", "pydantic", "sklearn")
    ),
    "approved": RunnerVersion(2, ("pandas", "pandera", "pyarrow", "pydantic")),
    "predictions": RunnerVersion(1, ("numpy", "pandas", "pandera", "pyarrow", "sklearn")),
}

# What classes of steps inherit and call: the base class, schemas, errors.
CONTRACT = RunnerVersion(1, ("pandas", "pandera", "pyarrow", "sklearn"))

# The modules that a number stands for wherever the code of a step, model or source leads into them. Anything else of
# the platform that such code uses is hashed like its own, as no golden test knows what it is used for.
_NUMBERED: Mapping[str, str] = {
    "ml_platform": "contract",
    "ml_platform.errors": "contract",
    "ml_platform.extras": "contract",
    "ml_platform.contract": "contract",
    "ml_platform.contract.transformer": "contract",
    "ml_platform.schema": "contract",
    "ml_platform.sources": "source",
    "ml_platform.sources.protocol": "source",
    "ml_platform.sources.partitions": "source",
    "ml_platform.sources.tables": "source",
}


def numbered(module: str) -> str | None:
    """Says which number stands for a module, `contract` or `source`; None for one that is hashed."""
    return _NUMBERED.get(module)


def runner_version(kind: str) -> RunnerVersion:
    """Looks a number up, with the libraries that belong to it."""
    return CONTRACT if kind == "contract" else RUNNERS[kind]
