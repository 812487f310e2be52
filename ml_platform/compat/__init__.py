"""Doors to other libraries: what the platform needs of them and they do not promise stands here, and nowhere else.

A module for each library, so that who needs one library needs no other; Dagster's storages and executors have modules
of their own, as `import dagster` does not load them. `ml_platform_tests/compat` says what is expected of each name.
"""
