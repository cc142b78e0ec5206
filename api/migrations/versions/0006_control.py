"""Control of jobs: idempotency keys, files that are to go, ends before a retry, pauses, deadlines."""

import sqlalchemy as sa
from alembic import op

from api.db import UtcDateTime, now

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("job", sa.Column("scratch_after", sa.Integer(), server_default="0", nullable=False))
    op.add_column("job", sa.Column("pause", sa.String(10), nullable=True))
    op.add_column("job", sa.Column("deadline", UtcDateTime(), nullable=True))
    op.add_column("job", sa.Column("earlier", sa.JSON(), server_default="[]", nullable=False))
    op.create_table(
        "idempotency_key",
        sa.Column("caller", sa.String(40), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("claim", sa.String(32), nullable=False),
        sa.Column("claimed_until", UtcDateTime(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("headers", sa.JSON(), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("created_at", UtcDateTime(), server_default=now(), nullable=False),
        sa.PrimaryKeyConstraint("caller", "key", name=op.f("pk_idempotency_key")),
    )
    op.create_index(op.f("ix_idempotency_key_created_at"), "idempotency_key", ["created_at"])
    op.create_table(
        "discard",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("key", sa.String(300), nullable=False),
        sa.Column("created_at", UtcDateTime(), server_default=now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_discard")),
    )


def downgrade() -> None:
    op.drop_table("discard")
    op.drop_table("idempotency_key")
    for name in ("earlier", "deadline", "pause", "scratch_after"):
        op.drop_column("job", name)
