"""Datasets that are still to be copied from a folder or a bucket."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("dataset") as table:
        table.add_column(sa.Column("source", sa.String(1100), nullable=True))
        table.alter_column("key", existing_type=sa.String(300), nullable=True)
        table.alter_column("sha256", existing_type=sa.String(64), nullable=True)


def downgrade() -> None:
    op.execute("DELETE FROM dataset WHERE key IS NULL")  # what has not arrived has no place in an older revision
    with op.batch_alter_table("dataset") as table:
        table.alter_column("sha256", existing_type=sa.String(64), nullable=False)
        table.alter_column("key", existing_type=sa.String(300), nullable=False)
        table.drop_column("source")
