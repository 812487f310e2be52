"""Writes new projects and pipelines from templates, for people to go on from."""
