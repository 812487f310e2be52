"""Versions of the code that makes values: closures of users' source, and numbers of what the platform itself does."""
