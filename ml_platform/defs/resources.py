"""The resources and the executor of the examples."""

import dagster as dg

from ml_platform import resources_for_project


@dg.definitions
def resources() -> dg.Definitions:
    """The project's resources."""
    return resources_for_project()
