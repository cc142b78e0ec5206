"""How datasets without a split are divided, and whether a lenient check keeps images that lose a box."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

TABLES = ("dataset", "resumable_upload")


def upgrade() -> None:
    for table in TABLES:
        op.add_column(table, sa.Column("keep", sa.Boolean(), server_default=sa.false(), nullable=False))
        op.add_column(table, sa.Column("divide", sa.String(200), nullable=True))


def downgrade() -> None:
    for table in TABLES:
        op.drop_column(table, "divide")
        op.drop_column(table, "keep")
