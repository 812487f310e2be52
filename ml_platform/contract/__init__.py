"""The contract of transformers: the base class, how they are built and applied, and the checks that prove it."""
