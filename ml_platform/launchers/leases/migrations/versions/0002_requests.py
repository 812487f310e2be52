"""What runs' processes ask of launchers that only the reconciler may talk to."""

import sqlalchemy as db
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Creates the table; the columns are explained in `ml_platform.launchers.steps.requests`."""
    op.create_table(
        "ml_platform_requests",
        db.Column("id", db.String(32), primary_key=True),
        db.Column("launch_id", db.String(32), nullable=False),
        db.Column("generation", db.Integer, nullable=False),
        *(db.Column(name, db.Text, nullable=False) for name in ("launcher", "kind", "given")),
        db.Column("asked", db.Float, nullable=False),
        db.Column("answer", db.Text),
    )


def downgrade() -> None:
    """Drops it."""
    op.drop_table("ml_platform_requests")
