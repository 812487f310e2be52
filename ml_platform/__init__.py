"""Machine-learning pipelines declared once: in a notebook, as Dagster assets, behind an API."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ml_platform.components import MLPipelineComponent as MLPipelineComponent
    from ml_platform.components.project import resources_for_project as resources_for_project
    from ml_platform.components.sources import source_assets as source_assets
    from ml_platform.contract.battery.runner import check_transformer as check_transformer
    from ml_platform.contract.transformer import DataTransformer as DataTransformer
    from ml_platform.errors import PlatformError as PlatformError
    from ml_platform.runtime.estimator import Pipeline as Pipeline
    from ml_platform.schema import Schema as Schema
    from ml_platform.sources import Partitions as Partitions
    from ml_platform.sources import TableSource as TableSource

# Where each public name lies. It is imported when it is asked for: scikit-learn and Dagster take seconds.
_HOMES = {
    "DataTransformer": "ml_platform.contract.transformer",
    "MLPipelineComponent": "ml_platform.components",
    "Partitions": "ml_platform.sources",
    "Pipeline": "ml_platform.runtime.estimator",
    "PlatformError": "ml_platform.errors",
    "Schema": "ml_platform.schema",
    "TableSource": "ml_platform.sources",
    "check_transformer": "ml_platform.contract.battery.runner",
    "resources_for_project": "ml_platform.components.project",
    "source_assets": "ml_platform.components.sources",
}

# Who has these may change code while it works with it, as in a notebook: from then on imports are noted.
_WATCHING = {"DataTransformer", "Pipeline", "check_transformer"}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Imports a public name when it is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _WATCHING:
        import_module("ml_platform.versions.stale_modules").watch_imports()
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
