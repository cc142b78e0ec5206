"""The request that has submitted a job, and its trace, for whoever works on the job later."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("job", sa.Column("request_id", sa.String(40), nullable=True))
    op.add_column("job", sa.Column("traceparent", sa.String(55), nullable=True))


def downgrade() -> None:
    op.drop_column("job", "traceparent")
    op.drop_column("job", "request_id")
