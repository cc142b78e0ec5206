"""The owner's moves of a job that is there: as in `api.jobs.lifecycle`, conditional UPDATEs that never commit.

Each of them counts the row's version, so that one which was decided on what has changed since changes nothing.
"""

from typing import Any

import sqlalchemy as sql
from sqlalchemy import ColumnElement, update
from sqlalchemy.orm import Session

from api.db import now
from api.jobs.states import DELETABLE, ENDED_EARLY, Status
from api.jobs.tables import Job, JobEpoch

MOST_EARLIER = 50  # ends that a job remembers: the newest


def retry(session: Session, job: Job, scratch: bool) -> bool:
    """Queue a job again that has failed or was cancelled; False where it has changed since it was read.

    How it ended stays in `earlier`. Its lost workers are forgotten: they are counted from here on.
    """
    values: dict[str, Any] = {
        "status": Status.QUEUED, "reason": None, "message": None, "problems": [], "result": None,
        "cancel_requested": False, "lost_workers": 0, "earlier": [*job.earlier, _end_of(job)][-MOST_EARLIER:],
        "phase": None, "progress": None, "queued_at": now(), "rung_at": now(), "started_at": None, "finished_at": None,
    }  # fmt: skip
    if scratch:
        values |= {"scratch_after": job.attempt, "metrics": None, "resolved_spec": None}
    moved = _move(session, job, Job.status.in_(ENDED_EARLY), **values)
    if moved and scratch:  # else epochs that are never reached again would show beside the new ones
        session.execute(sql.delete(JobEpoch).where(JobEpoch.job_id == job.id))
    return moved


def delete(session: Session, job: Job) -> bool:
    """Delete a job with all rows that are its own; False where it has changed since it was read."""
    statement = sql.delete(Job).where(*_same(job), Job.status.in_(DELETABLE))
    result = session.execute(statement.execution_options(synchronize_session=False))
    session.expire_all()
    return bool(result.rowcount)  # type: ignore[attr-defined]


def strip(session: Session, job: Job) -> bool:
    """Leave a job without a history: nothing can go on from it; False where it has changed since it was read."""
    values = {"metrics": None, "progress": None, "phase": None, "scratch_after": job.attempt}
    return _move(session, job, Job.status.in_(DELETABLE), **values)


def _end_of(job: Job) -> dict[str, Any]:
    assert job.finished_at is not None
    return {
        "attempt": job.attempt, "status": job.status, "reason": job.reason, "message": job.message,
        "problems": job.problems, "lost_workers": job.lost_workers, "finished_at": job.finished_at.isoformat(),
    }  # fmt: skip


def _same(job: Job) -> tuple[ColumnElement[bool], ...]:
    return Job.id == job.id, Job.version == job.version


def _move(session: Session, job: Job, *where: ColumnElement[bool], **values: Any) -> bool:
    statement = update(Job).where(*_same(job), *where).values(version=Job.version + 1, **values)
    result = session.execute(statement.execution_options(synchronize_session=False))
    session.refresh(job)
    return bool(result.rowcount)  # type: ignore[attr-defined]
