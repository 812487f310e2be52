"""Computes the version of the code that makes a value, from users' source and the platform's own numbers."""
