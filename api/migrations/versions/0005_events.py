"""What happens to jobs, and who works on them.

A job of before begins with the status that it has, and with the attempt that has it or ended it.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from api.db import UtcDateTime, now

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

JOB = sa.table(
    "job",
    *(sa.column(name) for name in ("id", "status", "attempt", "worker", "reason", "message")),
    *(sa.column(name, UtcDateTime()) for name in ("started_at", "finished_at")),
)


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
    attempts = op.create_table(
        "job_attempt",
        sa.Column("job_id", sa.String(40), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(200), nullable=False),
        sa.Column("started_at", UtcDateTime(), server_default=now(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("outcome", sa.String(20), nullable=True),
        sa.Column("reason", sa.String(40), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_job_attempt_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "attempt", name=op.f("pk_job_attempt")),
    )
    op.create_table(
        "job_checkpoint",
        sa.Column("job_id", sa.String(40), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("is_best", sa.Boolean(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime(), server_default=now(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_job_checkpoint_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "attempt", "epoch", name=op.f("pk_job_checkpoint")),
    )
    op.create_table(
        "job_log",
        sa.Column("job_id", sa.String(40), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("at", UtcDateTime(), server_default=now(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_job_log_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "attempt", "number", name=op.f("pk_job_log")),
    )
    op.create_table(
        "worker",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("queue", sa.String(20), nullable=False),
        sa.Column("version", sa.String(40), nullable=False),
        sa.Column("cpus", sa.Integer(), nullable=False),
        sa.Column("devices", sa.JSON(), nullable=False),
        sa.Column("since", UtcDateTime(), server_default=now(), nullable=False),
        sa.Column("beat_at", UtcDateTime(), server_default=now(), nullable=False),
        sa.Column("alive_until", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_worker")),
    )
    rows = op.get_bind().execute(sa.select(*JOB.c)).all()
    first = [
        {
            "job_id": row.id, "seq": 1, "type": "status", "attempt": row.attempt,
            "data": {"from": None, "to": row.status, "worker": row.worker, "reason": row.reason},
        }
        for row in rows
    ]  # fmt: skip
    op.bulk_insert(events, first)
    op.bulk_insert(attempts, [_attempt(row) for row in rows if row.attempt and row.status != "queued"])


def _attempt(row: sa.Row[Any]) -> dict[str, Any]:
    ended = row.status in ("succeeded", "failed", "cancelled")
    attempt = {"job_id": row.id, "attempt": row.attempt, "worker": row.worker or "", "started_at": row.started_at}
    end = {"ended_at": row.finished_at, "outcome": row.status, "reason": row.reason, "message": row.message}
    return attempt | (end if ended else dict.fromkeys(end))


def downgrade() -> None:
    op.drop_table("worker")
    op.drop_table("job_log")
    op.drop_table("job_checkpoint")
    op.drop_table("job_attempt")
    op.drop_table("job_event")
