"""Imported by the server that pods are forked from: the location's jobs are put together once, not in each."""

from ml_platform_tests.launchers.location import defs

defs.get_repository_def().get_job("__ASSET_JOB")
