"""Single steps of a run: the executor, where each step goes, and what executes it there."""
