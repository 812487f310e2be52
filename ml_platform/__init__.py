"""A machine-learning platform on Dagster: pipelines of data transformers, declared once."""
