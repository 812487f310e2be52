"""The battery that proves a transformer's promises; `check_transformer` runs it."""
