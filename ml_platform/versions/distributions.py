"""Finds the installed distributions, with versions, that imported top-level names come from."""

import importlib.metadata
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache


@lru_cache(maxsize=1024)
def _providers_of(name: str) -> tuple[str, ...]:
    """Returns the distributions that a top-level name comes from."""
    try:
        # Most names are their distribution's own. Asking for all (packages_distributions) reads every RECORD, which
        # takes a second.
        namesake = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return tuple(_providers().get(name, ()))
    is_it = name in (namesake.read_text("top_level.txt") or "").split() or f"{name}/__init__.py," in (
        namesake.read_text("RECORD") or ""
    )
    return (name,) if is_it else tuple(_providers().get(name, ()))


@lru_cache(maxsize=1)
def _providers() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


def distributions_of(imported: Iterable[str]) -> dict[str, str]:
    """Returns the versions of the distributions that top-level names come from, and of what those need."""
    # Not the third number: patch releases of Python fix faults and change no results, and would recompute everything.
    found = {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for name in sorted(set(imported) - sys.stdlib_module_names):
        for distribution in _providers_of(name):
            found[distribution] = _version(distribution)
            found |= _needed_by(distribution)
    return dict(sorted(found.items()))


@lru_cache(maxsize=1024)
def _version(distribution: str) -> str:
    """Returns a version as it was first read: what this process imported stays so, though a newer one be installed."""
    return importlib.metadata.version(distribution)


@lru_cache(maxsize=1024)
def _needed_by(distribution: str) -> dict[str, str]:
    """Returns the versions of what a distribution requires directly, extras aside, where it is installed."""
    from packaging.requirements import Requirement

    found = {}
    for text in importlib.metadata.requires(distribution) or ():
        need = Requirement(text)
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        try:
            # One level only: numpy for pandas. All of them would change cache keys with libraries that compute nothing.
            found[need.name] = importlib.metadata.version(need.name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
