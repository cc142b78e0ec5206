"""The owner's transitions of an existing job: conditional UPDATEs that never commit, as in `api.jobs.lifecycle`.

A decision that is based on a row as it was read is tied to the row's version: if the row has changed since, nothing
happens.
"""

from typing import Any, Literal

import sqlalchemy as sql
from sqlalchemy import ColumnElement, case, or_, update
from sqlalchemy.orm import Session

from api.db import now
from api.jobs import unblocking
from api.jobs.events import service as events
from api.tables.jobs import Job, JobEpoch
from api.tables.states import DELETABLE, ENDED_EARLY, Status, sources

MOST_EARLIER = 50  # previous endings to keep, newest last
Pause = Literal["save", "latest"]  # finish the current epoch and keep it, or stop now and discard it


def retry(session: Session, job: Job, scratch: bool) -> bool:
    """Re-queue a job that failed or was cancelled; return False if it has changed since it was read.

    `earlier` keeps how it had ended. The count of lost workers restarts.
    """
    values: dict[str, Any] = {
        "status": Status.QUEUED, "reason": None, "message": None, "problems": [], "result": None,
        "cancel_requested": False, "lost_workers": 0, "earlier": [*job.earlier, _end_of(job)][-MOST_EARLIER:],
        "phase": None, "progress": None, "queued_at": now(), "rung_at": now(), "started_at": None, "finished_at": None,
    }  # fmt: skip
    if scratch:
        values |= {"scratch_after": job.attempt, "metrics": None, "resolved_spec": None}
    moved = _move(session, job, Job.status.in_(ENDED_EARLY), **values)
    if moved:
        unblocking.enter_again(session, job.id, job.spec)
        events.moved(session, job.id, "retry")
    if moved and scratch:  # otherwise, later epochs of the old run would be shown after those of the new one
        session.execute(sql.delete(JobEpoch).where(JobEpoch.job_id == job.id))
    return moved


def pause(session: Session, job_id: str, how: Pause) -> None:
    """Request a pause: queued -> paused at once, starting or running -> pausing; a repeated request changes nothing.

    `latest` overrides a `save` that is waiting for the end of the epoch.
    """
    queued = Job.status == Status.QUEUED
    stronger = (Job.status == Status.PAUSING) & (Job.pause != how) & (how == "latest")
    possible = or_(Job.status.in_([Status.QUEUED, *sources(Status.PAUSING)]), stronger)
    result = session.execute(
        update(Job)
        .where(Job.id == job_id, possible)
        .values(
            status=case((queued, Status.PAUSED), else_=Status.PAUSING),
            pause=case((queued, None), else_=how),
            version=Job.version + 1,
        ),
        execution_options={"synchronize_session": False},
    )
    if result.rowcount:  # type: ignore[attr-defined]
        events.moved(session, job_id)


def resume(session: Session, job_id: str) -> bool:
    """Re-queue a paused job; return False if it is not paused. The count of lost workers does not change."""
    paused = update(Job).where(Job.id == job_id, Job.status == Status.PAUSED)
    queued = paused.values(status=Status.QUEUED, queued_at=now(), rung_at=now(), version=Job.version + 1)
    spec = session.scalar(queued.returning(Job.spec), execution_options={"synchronize_session": False})
    if spec is None:
        return False
    unblocking.enter_again(session, job_id, spec)
    events.moved(session, job_id, "resume")
    return True


def change(session: Session, job: Job, content: dict[str, Any], **columns: Any) -> bool:
    """Change fields of the spec, where null removes a field, and columns of the row.

    Return False if the job has changed since it was read.
    """
    spec = {name: value for name, value in (job.spec | content).items() if name not in content or value is not None}
    return _move(session, job, spec=spec, **columns)


def delete(session: Session, job: Job) -> bool:
    """Delete a job with all rows that belong to it; return False if it has changed since it was read."""
    statement = sql.delete(Job).where(*_same(job), Job.status.in_(DELETABLE))
    result = session.execute(statement.execution_options(synchronize_session=False))
    return bool(result.rowcount)  # type: ignore[attr-defined]


def strip(session: Session, job: Job) -> bool:
    """Strip a job of its history, so that nothing can resume from it; return False if it has changed since read."""
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
    session.get(Job, job.id, populate_existing=True)  # refresh the object; a deleted job's object keeps its values
    return bool(result.rowcount)  # type: ignore[attr-defined]
