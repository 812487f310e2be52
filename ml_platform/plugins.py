"""Finds what installed distributions add to the platform, by their entry points.

A distribution names in its `pyproject.toml` what it adds, for instance
`[project.entry-points."ml_platform.metrics"]` with `"binary.profit" = "shop.metrics:profit"`.
"""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ml_platform.errors import PlatformError

# Group to what a name and its object are.
GROUPS: Mapping[str, str] = {
    "ml_platform.steps": "any name; a package whose `__all__` lists transformers, for `ml-platform steps`",
    "ml_platform.models": "any name; a package whose `__all__` lists models, for `ml-platform steps`",
    "ml_platform.sources": "any name; a class of sources, so that pipelines may read its objects",
    "ml_platform.metrics": "`task.metric`; a function of truth and answer that gives a number",
    "ml_platform.launchers": "a run launcher class's dotted name; its `BackendSpec`, which sends it single steps",
    "ml_platform.storages": "the scheme of a URL; a class of backends of the artifact store",
}


@cache
def added(group: str) -> Mapping[str, EntryPoint]:
    """Lists what distributions add to a group, by name, in the order of the names.

    Raises:
        PlatformError: two distributions add something under one name.
    """
    assert group in GROUPS, group
    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=group), key=lambda one: (one.name, one.value)):
        former = found.setdefault(point.name, point)
        if former.value != point.value:
            raise PlatformError(
                f"{group}: {_distribution_name(former)} and {_distribution_name(point)} both add {point.name!r}; "
                "uninstall one of them"
            )
    return found


def load(group: str, name: str) -> Any:
    """Imports what a distribution adds under a name.

    Raises:
        PlatformError: it cannot be imported.
    """
    point = added(group)[name]
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise PlatformError(
            f"{group}: {_distribution_name(point)} adds {name!r} as {point.value}, which cannot be imported ({error}); "
            "expected " + GROUPS[group]
        ) from error


def _distribution_name(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "a distribution"
