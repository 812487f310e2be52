"""Private names of dagster-postgres that the platform relies on, re-exported in one place."""

# The URL of a database that an instance's YAML names whole or in parts.
from dagster_postgres.utils import pg_url_from_config

__all__ = ["pg_url_from_config"]
