"""Studies, and jobs that start from another job's checkpoints."""

import sqlalchemy as sa
from alembic import op

from api.db import UtcDateTime, now

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("job", sa.Column("continues", sa.String(40), nullable=True))
    op.create_table(
        "study",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("teacher_job", sa.String(40), nullable=True),
        sa.Column("created_at", UtcDateTime(), server_default=now(), nullable=False),
        sa.ForeignKeyConstraint(["teacher_job"], ["job.id"], name=op.f("fk_study_teacher_job")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_study")),
    )
    op.create_table(
        "study_member",
        sa.Column("study_id", sa.String(40), nullable=False),
        sa.Column("method", sa.String(64), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(40), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_study_member_study_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_study_member_job_id")),
        sa.PrimaryKeyConstraint("study_id", "method", "seed", name=op.f("pk_study_member")),
    )
    op.create_index(op.f("ix_study_member_job_id"), "study_member", ["job_id"])


def downgrade() -> None:
    op.drop_table("study_member")
    op.drop_table("study")
    op.drop_column("job", "continues")
