"""First tables: datasets, models, jobs, their epochs and artifacts."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from api.db import UtcDateTime, now

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("dataset", "model"):
        op.create_table(
            table,
            sa.Column("id", sa.String(40), nullable=False),
            sa.Column("name", sa.String(200)),
            sa.Column("filename", sa.String(300), nullable=False),
            sa.Column("status", sa.String(20), nullable=False),
            sa.Column("key", sa.String(300), nullable=False),
            sa.Column("sha256", sa.String(64), nullable=False),
            sa.Column("size", sa.BigInteger(), nullable=False),
            sa.Column("problems", sa.JSON(), nullable=False),
            sa.Column("report", sa.JSON()),
            _moment("created_at"),
            sa.Column("checked_at", UtcDateTime()),
            *_lease(),
            sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        )
        op.create_index(op.f(f"ix_{table}_sha256"), table, ["sha256"])
        op.create_index(op.f(f"ix_{table}_status"), table, ["status"])

    op.create_table(
        "job",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("name", sa.String(200)),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("reason", sa.String(40)),
        sa.Column("message", sa.Text()),
        sa.Column("problems", sa.JSON(), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("resolved_spec", sa.JSON()),
        sa.Column("result", sa.JSON()),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("timeout_seconds", sa.Integer(), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("phase", sa.String(20)),
        sa.Column("progress", sa.JSON()),
        sa.Column("metrics", sa.JSON()),
        sa.Column("version", sa.Integer(), nullable=False),
        _moment("created_at"),
        _moment("queued_at"),
        sa.Column("started_at", UtcDateTime()),
        sa.Column("finished_at", UtcDateTime()),
        *_lease(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
    )
    op.create_index("ix_job_claim", "job", ["status", "priority", "queued_at"])
    op.create_index(op.f("ix_job_status"), "job", ["status"])

    op.create_table(
        "job_epoch",
        sa.Column("job_id", sa.String(40), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("values", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_job_epoch_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "epoch", name=op.f("pk_job_epoch")),
    )
    op.create_table(
        "artifact",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("job_id", sa.String(40), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("key", sa.String(300), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        _moment("created_at"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_artifact_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_artifact")),
        sa.UniqueConstraint("job_id", "attempt", "epoch", "name", name=op.f("uq_artifact_job_id_attempt_epoch_name")),
    )
    op.create_index("ix_artifact_job_name", "artifact", ["job_id", "name"])


def downgrade() -> None:
    for table in ("artifact", "job_epoch", "job", "model", "dataset"):
        op.drop_table(table)


def _moment(name: str) -> sa.Column[Any]:
    return sa.Column(name, UtcDateTime(), server_default=now(), nullable=False)


def _lease() -> list[sa.Column[Any]]:
    return [
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(200)),
        sa.Column("lease_until", UtcDateTime()),
        sa.Column("rung_at", UtcDateTime()),
        sa.Column("lost_workers", sa.Integer(), nullable=False),
    ]
