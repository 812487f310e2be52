"""Dagster storages with kept connections: SQLite on one machine, PostgreSQL where several share it."""
