"""Writes projects and pipelines for people to go on from."""
