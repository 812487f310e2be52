"""Runs the battery of contract checks on a transformer, from the command line."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_platform.contract.battery.report import Report, Unusable
from ml_platform.contract.battery.runner import check_transformer
from ml_platform.contract.construction import BuildError, build
from ml_platform.errors import expected_one_of


def check_path(import_path: str, params: str, examples: Sequence[str], target: str | None = None) -> Report:
    """Builds the transformer at a dotted path and tries its promises.

    Args:
        params: JSON of its parameters.
        examples: files of rows; `name=file` for another input.
        target: the column that it learns.

    Raises:
        Unusable: it cannot be built, or there is nothing to try it on.
    """
    frames = dict(_named(one) for one in examples)
    if len(frames) < len(examples):
        raise Unusable(f"--examples: expected one file for each input, found {', '.join(examples)}")
    transformer = _built(import_path, params)
    read = {name: _read(file) for name, file in frames.items()}
    first = read.pop("", None)
    taken = sorted({"transformer", "examples", "y", "promises"} & set(read))
    if taken:
        raise Unusable(f"--examples: {taken[0]!r} cannot be the name of another input; rename transform's parameter")
    y = None
    if target is not None:
        if first is None or target not in first:
            known = [] if first is None else list(first)
            raise Unusable(f"--target: no column {target!r} in the examples: {expected_one_of(target, known)}")
        y = first.pop(target)
    return check_transformer(transformer, first, y, **read)


def _named(example: str) -> tuple[str, str]:
    name, is_named, file = example.partition("=")
    return (name, file) if is_named and name.isidentifier() else ("", example)


def _built(import_path: str, params: str) -> Any:
    try:
        parameters = json.loads(params)
    except json.JSONDecodeError as error:
        raise Unusable(f"--params: not JSON ({error}): {params!r}") from error
    if not isinstance(parameters, dict):
        raise Unusable(f'--params: expected an object such as {{"column": "at"}}, found {params}')
    try:
        return build(import_path, parameters)
    except BuildError as error:
        is_missing = isinstance(error.__cause__, ImportError)
        hint = "; a module of your own is found if its folder is on PYTHONPATH" if is_missing else ""
        raise Unusable(f"{import_path}: {error}{hint}") from error
    except (Exception, SystemExit) as error:
        raise Unusable(f"{import_path} cannot be built: {type(error).__name__}: {error}") from error


def _read(file: str) -> Any:
    import pandas as pd

    if not Path(file).is_file():
        raise Unusable(f"--examples: no file {file!r}")
    try:
        return pd.read_parquet(file)
    except Exception as error:
        raise Unusable(f"--examples: {file!r} is no Parquet file ({error})") from error
