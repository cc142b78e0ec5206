"""The moves that repair: jobs that can never start, leases that ran out, bells that nobody heard.

The reaper makes them, and a worker that has just ended something. As in `api.jobs.lifecycle`, each is a conditional
UPDATE, so that any number of reapers and workers may make it at once, and no function commits.
"""

from typing import Any

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from api.attempts import service as attempts
from api.attempts.service import Outcome
from api.db import after_seconds, now
from api.events import service as events
from api.jobs.dependencies import blocked, overdue, ready
from api.jobs.states import HELD, Status, sources
from api.jobs.tables import Job
from rdrkd.reasons import Reason


def fail_blocked(session: Session) -> list[str]:
    """Fail the queued jobs whose dependencies can never become ready, and those that wait for these in turn."""
    failed: list[str] = []
    while True:
        waiting = session.execute(select(Job.id, Job.spec).where(Job.status == Status.QUEUED, ~ready(Job))).all()
        hopeless = [(job_id, why) for job_id, spec in waiting if (why := blocked(session, spec))]
        for job_id, (reason, message) in hopeless:
            if _end(session, Job.id == job_id, Job.status == Status.QUEUED, reason=reason, message=message):
                events.moved(session, job_id)
        failed += [job_id for job_id, _ in hopeless]
        if not hopeless:
            return failed
        session.expire_all()


def expire(session: Session, max_lost_workers: int) -> list[str]:
    """Take the jobs whose lease has run out from their workers; give the ids of those that are queued again.

    A job that was being paused or cancelled is; one that lost its worker more than `max_lost_workers` times fails.
    """
    expired = (Job.status.in_(HELD), Job.lease_until < now())
    pausing = update(Job).where(*expired, Job.status == Status.PAUSING)
    paused = session.scalars(
        pausing.values(status=Status.PAUSED, lease_until=None, version=Job.version + 1).returning(Job.id),
        execution_options={"synchronize_session": False},
    ).all()
    ended = _end(
        session,
        *expired,
        Job.status == Status.CANCELLING,
        status=Status.CANCELLED,
        reason=Reason.USER_CANCELLED,
        message="cancelled; its worker was lost before it confirmed",
    )
    too_often = f"lost its worker more than {max_lost_workers} times; the last one stopped renewing its lease"
    ended += _end(
        session, *expired, Job.lost_workers >= max_lost_workers, reason=Reason.WORKER_LOST, message=too_often,
        lost_workers=Job.lost_workers + 1,
    )  # fmt: skip
    back = update(Job).where(*expired, Job.status.in_(sources(Status.QUEUED)))
    values = {"status": Status.QUEUED, "lost_workers": Job.lost_workers + 1, "version": Job.version + 1}
    queued = list(session.scalars(back.values(**values, lease_until=None, rung_at=None).returning(Job.id)))
    for job_id in (*paused, *ended, *queued):
        attempts.end(session, job_id, Outcome.LOST, Reason.WORKER_LOST)
        events.moved(session, job_id, Reason.WORKER_LOST)
    return queued


def fail_overdue(session: Session) -> list[str]:
    """Fail the jobs that wait for a worker or for their owner and whose deadline has passed; workers end theirs."""
    late = (Job.status.in_([Status.QUEUED, Status.PAUSED]), overdue(Job))
    ids = list(session.scalars(select(Job.id).where(*late)))
    message = "waited until its deadline had passed"
    ended = _end(session, *late, Job.id.in_(ids), reason=Reason.DEADLINE_EXCEEDED, message=message)
    for job_id in ended:
        events.moved(session, job_id)
    return ended


def can_start(session: Session, job_id: str) -> bool:
    """Say whether a job is queued and everything that it refers to is ready."""
    return session.scalar(select(Job.id).where(Job.id == job_id, Job.status == Status.QUEUED, ready(Job))) is not None


def due_bells(session: Session, after: float) -> list[str]:
    """Give the jobs that can start but were not rung for `after` seconds: lost messages, crashes before the ring."""
    silent = func.coalesce(Job.rung_at, Job.queued_at) < after_seconds(-after)
    order = (Job.priority.desc(), Job.queued_at)
    return list(session.scalars(select(Job.id).where(Job.status == Status.QUEUED, silent, ready(Job)).order_by(*order)))


def mark_rung(session: Session, job_id: str) -> None:
    """Note that the job's bell is being rung."""
    session.execute(update(Job).where(Job.id == job_id).values(rung_at=now()))


def _end(session: Session, *where: ColumnElement[bool], status: Status = Status.FAILED, **values: Any) -> list[str]:
    """End the jobs for which this holds, and give their ids."""
    statement = update(Job).where(*where, Job.status.in_(sources(status)))
    ended = statement.values(status=status, lease_until=None, finished_at=now(), version=Job.version + 1, **values)
    return list(session.scalars(ended.returning(Job.id).execution_options(synchronize_session=False)))
