"""Creates the launch table in a database, or migrates it to what this version needs."""

import threading
from pathlib import Path

import sqlalchemy as db
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from ml_platform.errors import LaunchError

VERSION_TABLE = "ml_platform_launches_version"  # Dagster's own migrations keep theirs in `alembic_version`
_ALONE = threading.Lock()  # Alembic keeps in globals what it works on: two databases at a time would be mixed up


def state(connection: db.Connection) -> tuple[str | None, str]:
    """Returns the revision that is there, None for none, and the one that this version needs."""
    found = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()
    return found, str(ScriptDirectory.from_config(_config()).get_current_head())


def upgrade(connection: db.Connection) -> bool:
    """Brings the table to what this version needs, in the caller's transaction; False if it is so already.

    Raises:
        LaunchError: a revision that this version does not know.
    """
    found, wanted = state(connection)
    if found == wanted:
        return False
    config = _config()
    config.attributes["connection"] = connection
    try:
        with _ALONE:
            command.upgrade(config, "head")
    except CommandError as error:
        raise LaunchError(
            f"the launch table is at revision {found}, which this version (up to {wanted}) does not know; "
            "install the version of ml_platform that made it, or a newer one"
        ) from error
    return True


def _config() -> Config:
    config = Config()
    # Found beside this module, so that it works from a wheel; Alembic's parser takes a plain % for a placeholder.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config
