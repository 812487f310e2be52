"""Dagster's own storage as the platform keeps it: in SQLite on one machine, in PostgreSQL where several share it."""
