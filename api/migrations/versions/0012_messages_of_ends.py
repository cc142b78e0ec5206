"""Write messages about ended jobs with the end itself, so that rows need not record what was sent."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

from api.db import UtcDateTime, new_id

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TOLD = ("job", "study")


def upgrade() -> None:
    op.add_column("webhook_delivery", sa.Column("subject", sa.String(40), nullable=True))
    op.create_index(op.f("ix_webhook_delivery_subject"), "webhook_delivery", ["subject"])
    op.create_index("ix_webhook_delivery_due", "webhook_delivery", ["webhook_id", "status", "next_attempt_at"])
    op.drop_index("ix_webhook_delivery_claim", "webhook_delivery")
    op.drop_index(op.f("ix_webhook_delivery_webhook_id"), "webhook_delivery")
    _tell()
    op.drop_index("ix_job_announce", "job")
    for table in TOLD:
        op.drop_column(table, "announced_at")


def downgrade() -> None:
    for table in TOLD:
        op.add_column(table, sa.Column("announced_at", UtcDateTime(), nullable=True))
    op.execute("UPDATE job SET announced_at = finished_at")
    op.execute(sa.text("UPDATE study SET announced_at = (SELECT max(finished_at) FROM job)"))
    op.create_index("ix_job_announce", "job", ["finished_at", "announced_at"])
    op.create_index("ix_webhook_delivery_claim", "webhook_delivery", ["status", "next_attempt_at"])
    op.create_index(op.f("ix_webhook_delivery_webhook_id"), "webhook_delivery", ["webhook_id"])
    op.drop_index("ix_webhook_delivery_due", "webhook_delivery")
    op.drop_index(op.f("ix_webhook_delivery_subject"), "webhook_delivery")
    op.drop_column("webhook_delivery", "subject")


def _tell() -> None:
    """Make the messages of the last ends before the service was stopped for this."""
    job, study, member, webhook = (
        sa.table("job", *map(sa.column, ("id", "kind", "status", "reason", "owner")),
                 *(sa.column(name, UtcDateTime()) for name in ("finished_at", "announced_at"))),
        sa.table("study", *map(sa.column, ("id", "owner", "teacher_job")), sa.column("announced_at", UtcDateTime())),
        sa.table("study_member", *map(sa.column, ("study_id", "job_id"))),
        sa.table("webhook", *map(sa.column, ("id", "owner", "disabled_at")), sa.column("events", sa.JSON())),
    )  # fmt: skip
    connection = op.get_bind()
    untold = sa.or_(job.c.announced_at.is_(None), job.c.announced_at != job.c.finished_at)
    ends = connection.execute(sa.select(job).where(job.c.finished_at.is_not(None), untold, job.c.kind != "compare"))
    told: list[tuple[str, Any, Any, dict[str, Any]]] = []
    for row in ends:
        links = {"self": f"/v1/jobs/{row.id}"}
        links |= {name: f"{links['self']}/{name}" for name in ("weights", "artifacts")}
        data = {"object": "job", "kind": row.kind, "status": row.status, "reason": row.reason, "links": links}
        told.append((f"job.{row.status}", row.owner, row.finished_at, {"id": row.id} | data))
    for row in connection.execute(sa.select(study)):
        jobs = sa.select(member.c.job_id).where(member.c.study_id == row.id)
        of_study = sa.or_(job.c.id.in_(jobs), job.c.id == row.teacher_job)
        ended = connection.execute(sa.select(job.c.status, job.c.finished_at).where(of_study)).all()
        at = max((moment for _, moment in ended if moment is not None), default=None)
        if at is None or any(moment is None for _, moment in ended) or (row.announced_at and row.announced_at >= at):
            continue
        counts = {status: sum(other == status for other, _ in ended) for status, _ in ended}
        status = next(status for status in ("failed", "cancelled", "succeeded") if status in counts)
        links = {"self": f"/v1/studies/{row.id}", "report": f"/v1/studies/{row.id}/report"}
        data = {"id": row.id, "object": "study", "status": status, "jobs": counts, "links": links}
        told.append(("study.finished", row.owner, at, data))
    hooks = connection.execute(sa.select(webhook).where(webhook.c.disabled_at.is_(None))).all()
    delivery = sa.table(
        "webhook_delivery",
        *map(sa.column, ("id", "owner", "webhook_id", "event", "subject", "body", "status", "attempts")),
    )
    for event, owner, at, data in told:
        body = json.dumps({"type": event, "timestamp": at.isoformat(), "data": data})
        for hook in hooks:
            if hook.owner == owner and event in hook.events:
                values = {"owner": owner, "event": event, "subject": data["id"], "body": body}
                values |= {"id": new_id("msg"), "webhook_id": hook.id, "status": "waiting", "attempts": 0}
                connection.execute(sa.insert(delivery).values(values))
