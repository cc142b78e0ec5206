"""Bytes that are reserved before they are written."""

import sqlalchemy as sa
from alembic import op

from api.db import UtcDateTime, now

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "reservation",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("owner", sa.String(64), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("file", sa.String(100), nullable=False),
        sa.Column("grows_to", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.String(40), nullable=False),
        sa.Column("lease_until", UtcDateTime(), nullable=False),
        sa.Column("created_at", UtcDateTime(), server_default=now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reservation")),
    )
    op.create_index(op.f("ix_reservation_owner"), "reservation", ["owner"])
    op.create_index(op.f("ix_reservation_holder"), "reservation", ["holder"])
    # Uploads that are under way begin to count with their next piece.
    op.add_column("resumable_upload", sa.Column("expires_at", UtcDateTime(), nullable=True))


def downgrade() -> None:
    op.drop_column("resumable_upload", "expires_at")
    op.drop_table("reservation")
