"""Alembic's entry: runs the revisions on the connection that it was given."""

from alembic import context

from ml_platform.launchers.leases.migrations import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
context.run_migrations()
