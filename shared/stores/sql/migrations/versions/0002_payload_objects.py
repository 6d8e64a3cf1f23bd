"""Where payloads lie that are too large for a row."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Let a result point at an object."""
    op.add_column("results", sa.Column("payload_object", sa.Text))
