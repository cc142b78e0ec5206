"""What happens to jobs; a job of before begins with the status that it has."""

import sqlalchemy as sa
from alembic import op

from api.db import UtcDateTime, now

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    events = op.create_table(
        "job_event",
        sa.Column("job_id", sa.String(40), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("type", sa.String(20), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("at", UtcDateTime(), server_default=now(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_job_event_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "seq", name=op.f("pk_job_event")),
    )
    job = sa.table("job", *(sa.column(name) for name in ("id", "status", "attempt", "worker", "reason")))
    rows = op.get_bind().execute(sa.select(job)).all()
    first = [
        {
            "job_id": row.id, "seq": 1, "type": "status", "attempt": row.attempt,
            "data": {"from": None, "to": row.status, "worker": row.worker, "reason": row.reason},
        }
        for row in rows
    ]  # fmt: skip
    op.bulk_insert(events, first)


def downgrade() -> None:
    op.drop_table("job_event")
