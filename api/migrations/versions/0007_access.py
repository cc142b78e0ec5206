"""API keys, and whose a row is."""

import sqlalchemy as sa
from alembic import op

from api.db import UtcDateTime, now

revision = "0007"
down_revision = "0004"
branch_labels = None
depends_on = None

OWNED = ("dataset", "model", "job", "study")  # what there is already stays without an owner: the operator's


def upgrade() -> None:
    op.create_table(
        "api_key",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("scope", sa.String(20), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("created_at", UtcDateTime(), server_default=now(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.Column("last_used_at", UtcDateTime(), nullable=True),
        sa.Column("revoked_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
    )
    op.create_index(op.f("ix_api_key_owner"), "api_key", ["owner"])
    for table in OWNED:
        op.add_column(table, sa.Column("owner", sa.String(64), nullable=True))
        op.create_index(op.f(f"ix_{table}_owner"), table, ["owner"])


def downgrade() -> None:
    for table in OWNED:
        op.drop_index(op.f(f"ix_{table}_owner"), table)
        op.drop_column(table, "owner")
    op.drop_table("api_key")
