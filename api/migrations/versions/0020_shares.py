"""Datasets and models that are shared with other owners."""

import sqlalchemy as sa
from alembic import op

from api.db import UtcDateTime, now

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "share",
        sa.Column("reader", sa.String(64), nullable=False),
        sa.Column("thing_id", sa.String(40), nullable=False),
        sa.Column("created_at", UtcDateTime(), server_default=now(), nullable=False),
        sa.PrimaryKeyConstraint("reader", "thing_id", name=op.f("pk_share")),
    )
    op.create_index(op.f("ix_share_thing_id"), "share", ["thing_id"])
    with op.batch_alter_table("audit") as table:  # for `<id>/<reader>`
        table.alter_column("object", type_=sa.String(110), existing_type=sa.String(100), existing_nullable=True)


def downgrade() -> None:
    with op.batch_alter_table("audit") as table:
        table.alter_column(
            "object", type_=sa.String(100), existing_type=sa.String(110), existing_nullable=True,
            postgresql_using="left(object, 100)",
        )  # fmt: skip
    op.drop_table("share")
