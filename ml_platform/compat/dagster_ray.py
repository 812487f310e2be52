"""Private names of dagster-ray that the platform relies on, re-exported in one place."""

# What a job is to have of the cluster, as the tags of a run or a step say.
from dagster_ray.configs import RayExecutionConfig

# A launcher's variables, given with values or to be taken from this process.
from dagster_ray.utils import resolve_env_vars_list

__all__ = ["RayExecutionConfig", "resolve_env_vars_list"]
