"""Events of a job, as rows numbered 1, 2, ...: lossless and in order.

An event is written in the transaction of the change that it records. Callers have locked the job's row, so no other
transaction numbers events of the same job: number n is committed before n + 1 is assigned, and a reader of the events
after n misses none. No function commits.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from api.jobs.events import study_ends
from api.jobs.events import webhook_messages as webhooks
from api.jobs.events.webhook_messages import Ended
from api.ownership import EVERYBODYS
from api.tables.events import JobEvent
from api.tables.jobs import Job
from api.tables.states import TERMINAL, Status

MOST = 50_000  # per job; then only its transitions are recorded: a trainer of untrusted files may report endlessly
MORE = {"code": "more_events", "message": f"there were more than {MOST} events; from here on only the job's moves"}


class Type(StrEnum):
    """The type of an event."""

    STATUS = "status"  # the job's status or attempt has changed
    RESOLVED = "resolved"  # the resolved spec is available, or calibration has changed its weights
    EPOCH = "epoch"  # an epoch has been trained
    CHECKPOINT = "checkpoint"  # the files of a checkpoint are in the storage
    ARTIFACT = "artifact"  # a file besides the checkpoints is in the storage
    WARNING = "warning"  # the trainer warned of something for the first time in this attempt


def moved(session: Session, job_id: str, reason: str | None = None) -> None:
    """Record a job's status as an event, if it or the attempt has changed since the last one.

    Args:
        session: the caller's transaction, in which the job has been written.
        job_id: the job.
        reason: the reason for a return to the queue, which the job itself does not record.
    """
    columns = (Job.status, Job.attempt, Job.worker, Job.reason, Job.kind, Job.owner, Job.finished_at)
    status, attempt, worker, of_job, kind, owner, finished_at = session.execute(
        select(*columns).where(Job.id == job_id)
    ).one()
    statuses = select(JobEvent.data, JobEvent.attempt).where(JobEvent.job_id == job_id, JobEvent.type == Type.STATUS)
    last = session.execute(statuses.order_by(JobEvent.seq.desc()).limit(1)).one_or_none()
    before = last.data["to"] if last is not None else None
    if last is None or (before, last.attempt) != (status, attempt):
        data = {"from": before, "to": str(status), "worker": worker, "reason": of_job or reason}
        add(session, job_id, attempt, Type.STATUS, data)
        if status in TERMINAL:
            assert finished_at is not None
            webhooks.ended(session, Ended(job_id, kind, Status(status), of_job, owner, finished_at))
            study_ends.note(session, [job_id])


def failed(session: Session, job_ids: Sequence[str], reason: str) -> None:
    """Record that queued jobs have failed for one reason, in a few statements however many they are."""
    columns = (Job.id, Job.attempt, Job.worker, Job.kind, Job.owner, Job.finished_at)
    jobs = session.execute(select(*columns).where(Job.id.in_(job_ids)), execution_options=EVERYBODYS).all()
    newest = select(JobEvent.job_id, func.max(JobEvent.seq)).where(JobEvent.job_id.in_(job_ids))
    seqs: dict[str, int] = dict(iter(session.execute(newest.group_by(JobEvent.job_id))))
    rows = []
    for job_id, attempt, worker, kind, owner, finished_at in jobs:
        assert finished_at is not None
        data = {"from": str(Status.QUEUED), "to": str(Status.FAILED), "worker": worker, "reason": reason}
        about = {"job_id": job_id, "seq": seqs.get(job_id, 0) + 1, "attempt": attempt}
        rows.append(about | {"type": Type.STATUS, "data": data})
        webhooks.ended(session, Ended(job_id, kind, Status.FAILED, reason, owner, finished_at))
    session.execute(insert(JobEvent), rows)
    study_ends.note(session, job_ids)


def add(session: Session, job_id: str, attempt: int, kind: Type, data: dict[str, Any]) -> None:
    """Record an event; an identical one right after it is a repeated write, and is recorded once."""
    newest = session.scalars(
        select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.seq.desc()).limit(1)
    ).one_or_none()
    seq = newest.seq + 1 if newest is not None else 1
    if newest is not None and (newest.type, newest.attempt, newest.data) == (kind, attempt, data):
        return
    if kind != Type.STATUS and seq >= MOST:
        if newest is not None and newest.seq >= MOST:
            return
        kind, data = Type.WARNING, MORE
    session.add(JobEvent(job_id=job_id, seq=seq, type=kind, attempt=attempt, data=data))
    session.flush()


def after(session: Session, job_id: str, seq: int, limit: int) -> list[JobEvent]:
    """Read at most `limit` of a job's events, from the one after `seq` on."""
    later = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.seq > seq)
    return list(session.scalars(later.order_by(JobEvent.seq).limit(limit)))
