"""Moves a class that was written in a notebook, with all that it needs, into a module of the project."""
