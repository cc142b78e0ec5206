"""In which epoch a trainer warned."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("job_warning", sa.Column("epoch", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("job_warning", "epoch")
