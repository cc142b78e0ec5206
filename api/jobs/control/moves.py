"""The owner's moves of a job that is there: as in `api.jobs.lifecycle`, conditional UPDATEs that never commit.

Those that are decided on what was read of the row name its version: where it has changed since, they change nothing.
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

MOST_EARLIER = 50  # ends that a job remembers: the newest
Pause = Literal["save", "latest"]  # finish the epoch and keep it, or stop now and lose what was done of it


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
    if moved:
        unblocking.enter_again(session, job.id, job.spec)
        events.moved(session, job.id, "retry")
    if moved and scratch:  # else epochs that are never reached again would show beside the new ones
        session.execute(sql.delete(JobEpoch).where(JobEpoch.job_id == job.id))
    return moved


def pause(session: Session, job_id: str, how: Pause) -> None:
    """Ask for a job's pause: queued -> paused at once, starting or running -> pausing; asking twice changes nothing.

    `latest` is stronger than `save`: it may be asked for while the other waits for the end of the epoch.
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
    """Queue a paused job again; False where it is not paused. Its lost workers stay counted; this is none of them."""
    paused = update(Job).where(Job.id == job_id, Job.status == Status.PAUSED)
    queued = paused.values(status=Status.QUEUED, queued_at=now(), rung_at=now(), version=Job.version + 1)
    spec = session.scalar(queued.returning(Job.spec), execution_options={"synchronize_session": False})
    if spec is None:
        return False
    unblocking.enter_again(session, job_id, spec)
    events.moved(session, job_id, "resume")
    return True


def change(session: Session, job: Job, content: dict[str, Any], **columns: Any) -> bool:
    """Change what was asked: in the spec, where null takes a field away, and in its columns.

    False where the job has changed since it was read.
    """
    spec = {name: value for name, value in (job.spec | content).items() if name not in content or value is not None}
    return _move(session, job, spec=spec, **columns)


def delete(session: Session, job: Job) -> bool:
    """Delete a job with all rows that are its own; False where it has changed since it was read."""
    statement = sql.delete(Job).where(*_same(job), Job.status.in_(DELETABLE))
    result = session.execute(statement.execution_options(synchronize_session=False))
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
    session.get(Job, job.id, populate_existing=True)  # as it is now; one that was deleted stays as it was read
    return bool(result.rowcount)  # type: ignore[attr-defined]
