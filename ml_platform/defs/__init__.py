"""The examples: Dagster loads what is declared below this folder."""
