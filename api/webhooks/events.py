"""What is told: the end of jobs and of studies.

The row that has ended is the outbox: it ends and becomes due in one transaction, whoever ends it, and a message is made
of it in another, once, with the note that it was. So no way for a job to end can forget to tell.
"""

import json
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.orm import Session

from api.db import new_id
from api.jobs.service import COMPARE
from api.jobs.states import TERMINAL, Status
from api.jobs.tables import Job
from api.studies import service as studies
from api.studies.schemas import state_of
from api.studies.tables import Study, StudyMember
from api.webhooks.tables import Delivery, Webhook

AT_ONCE = 100  # jobs of one transaction


class Event(StrEnum):
    """What a webhook may be told of."""

    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_CANCELLED = "job.cancelled"
    STUDY_FINISHED = "study.finished"


TEST = "webhook.test"  # on request only


def announce_jobs(session: Session) -> int:
    """Make messages of the jobs that have ended since; give how many have."""
    if session.scalar(select(Job.id).where(_ended()).limit(1)) is None:
        return 0  # without a write: that would keep others from theirs on SQLite
    candidates = (
        select(Job.id).where(_ended()).order_by(Job.finished_at).limit(AT_ONCE).with_for_update(skip_locked=True)
    )
    columns = (Job.id, Job.kind, Job.status, Job.reason, Job.owner, Job.finished_at)
    claimed = update(Job).where(Job.id.in_(candidates), _ended()).values(announced_at=Job.finished_at)
    ended = session.execute(claimed.returning(*columns), execution_options={"synchronize_session": False}).all()
    for job_id, kind, status, reason, owner, finished_at in ended:
        assert finished_at is not None
        if kind != COMPARE:  # the report of a study is no work that anybody asked for by itself
            base = f"/v1/jobs/{job_id}"
            links = {"self": base, "weights": f"{base}/weights", "artifacts": f"{base}/artifacts"}
            data = {"id": job_id, "object": "job", "kind": kind, "status": status, "reason": reason, "links": links}
            tell(session, owner, f"job.{Status(status)}", finished_at, data)
    return len(ended)


def announce_studies(session: Session) -> int:
    """Make messages of the studies whose last job has ended since; give how many have."""
    own = StudyMember.study_id == Study.id
    of_study = select(Job.id).join(StudyMember, StudyMember.job_id == Job.id).where(own)
    teacher = select(Job.id).where(Job.id == Study.teacher_job)
    last = select(func.max(Job.finished_at)).join(StudyMember, StudyMember.job_id == Job.id).where(own)
    end = last.correlate(Study).scalar_subquery()
    still = [~jobs.where(Job.status.not_in(TERMINAL)).exists() for jobs in (of_study, teacher)]
    due = session.execute(select(Study.id, end).where(*still, of_study.exists(), _before(end))).all()
    return sum(_announce_study(session, study_id, finished_at) for study_id, finished_at in due if finished_at)


def tell(session: Session, owner: str | None, event: str, at: datetime, data: dict[str, Any]) -> list[Delivery]:
    """Make a message for each of the owner's webhooks that want to hear of the event."""
    mine = select(Webhook).where(Webhook.owner.is_not_distinct_from(owner), Webhook.disabled_at.is_(None))
    return deliveries(session, (hook for hook in session.scalars(mine) if event in hook.events), event, at, data)


def deliveries(
    session: Session, hooks: Iterable[Webhook], event: str, at: datetime, data: dict[str, Any]
) -> list[Delivery]:
    """Make a message for each webhook: small, ids and links; who wants to know more asks the service."""
    body = json.dumps({"type": event, "timestamp": at.isoformat(), "data": data})
    rows = [Delivery(id=new_id("msg"), webhook_id=hook.id, owner=hook.owner, event=event, body=body) for hook in hooks]
    session.add_all(rows)
    session.flush()
    return rows


def _ended() -> ColumnElement[bool]:
    untold = or_(Job.announced_at.is_(None), Job.announced_at != Job.finished_at)
    return Job.finished_at.is_not(None) & untold


def _before(end: Any) -> ColumnElement[bool]:
    return or_(Study.announced_at.is_(None), Study.announced_at < end)


def _announce_study(session: Session, study_id: str, finished_at: datetime) -> bool:
    claimed = update(Study).where(Study.id == study_id, _before(finished_at)).values(announced_at=finished_at)
    row = session.execute(
        claimed.returning(Study.owner), execution_options={"synchronize_session": False}
    ).one_or_none()
    if row is None:  # another process was quicker
        return False
    members = studies.members_of(session, session.get_one(Study, study_id))
    base = f"/v1/studies/{study_id}"
    counts = Counter(job.status for job in members.jobs)
    links = {"self": base, "report": f"{base}/report"}
    data = {"id": study_id, "object": "study", "status": state_of(counts), "jobs": counts, "links": links}
    tell(session, row.owner, Event.STUDY_FINISHED, finished_at, data)
    return True
