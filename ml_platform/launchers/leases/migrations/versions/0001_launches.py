"""The launch table."""

import sqlalchemy as db
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Creates it; the columns are explained in `ml_platform.launchers.leases.table`."""
    text, moment = db.Text(), db.Float()
    op.create_table(
        "ml_platform_launches",
        db.Column("id", db.String(32), primary_key=True),
        *(db.Column(name, db.String(255), nullable=False) for name in ("run_id", "root_run_id")),
        *(db.Column(name, text, nullable=False) for name in ("step", "job", "assets", "launcher")),
        *(
            db.Column(name, db.Integer, nullable=False)
            for name in ("attempt", "retry", "generation", "tries", "deaths")
        ),
        *(db.Column(name, text) for name in ("route", "namespace", "name", "uid", "host", "outcome", "reason")),
        db.Column("spec", db.String(64)),
        *(db.Column(name, db.String(32)) for name in ("within", "token")),
        db.Column("pid", db.Integer),
        db.Column("intended", moment, nullable=False),
        *(db.Column(name, moment) for name in ("created", "claimed", "heard", "ending", "released", "waiting_until")),
        *(db.Column(name, moment, nullable=False) for name in ("gpus", "cpu_seconds")),
        db.Column("peak_bytes", db.BigInteger, nullable=False),
    )
    is_open = db.text("released IS NULL")
    op.create_index(
        "ml_platform_launches_one_open", "ml_platform_launches", ["run_id", "step"],
        unique=True, sqlite_where=is_open, postgresql_where=is_open,
    )  # fmt: skip
    op.create_index("ml_platform_launches_by_root", "ml_platform_launches", ["root_run_id", "step"])


def downgrade() -> None:
    """Drops it."""
    op.drop_table("ml_platform_launches")
