"""Repair transitions: jobs that can never start, expired leases, lost wake-up messages.

The reaper applies them, and so does a worker that has just ended a job. As in `api.jobs.lifecycle`, each is a
conditional UPDATE, so that any number of reapers and workers may apply it at once, and no function commits.
"""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import ColumnElement, literal_column, select, update
from sqlalchemy.orm import Session

from api.db import Database, after_seconds, moment, now
from api.jobs import unblocking
from api.jobs.attempts import service as attempts
from api.jobs.attempts.service import Outcome
from api.jobs.events import service as events
from api.tables.job_inputs import claimable, held
from api.tables.jobs import QUEUED, Job
from api.tables.states import HELD, Status, sources
from rdrkd.reasons import Reason


def fail_blocked(session: Session) -> list[str]:
    """Update a batch of jobs whose dependencies have changed; return those that failed because they can never start.

    There may be more: the reaper continues in further transactions (`unblocking.advance`).
    """
    failed: list[str] = []
    looked_at = 0
    while looked_at < unblocking.BATCH and (batch := unblocking.advance(session)) is not None:
        failed += batch.failed
        looked_at += max(1, batch.looked_at)
        if batch.left:
            break
    return failed


def fail_all_overdue(database: Database) -> Iterator[str]:
    """Fail all jobs that are overdue, each batch in a separate transaction; yield them."""
    while True:
        with database.transaction() as session:
            failed = fail_overdue(session)
        if not failed:
            return
        yield from failed


def expire(session: Session, max_lost_workers: int) -> list[str]:
    """Take jobs with an expired lease from their workers; return the ids of those that are re-queued.

    A job that was being paused or cancelled becomes `paused` or `cancelled`; one that has lost its worker more than
    `max_lost_workers` times fails.
    """
    lapsed = select(Job.id).where(held(Job), Job.lease_until < moment(now()))
    # A locked row is about to be changed by another transaction; the next round sees it.
    if not (ids := session.scalars(lapsed.with_for_update(skip_locked=True)).all()):
        return []
    expired = (Job.id.in_(ids), Job.status.in_(HELD), Job.lease_until < now())
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
    for job_id in ended:
        unblocking.note_if_waited_for(session, job_id)
    return queued


def fail_overdue(session: Session, limit: int = 100) -> list[str]:
    """Fail queued and paused jobs whose deadline has passed; workers end the jobs that they hold.

    It fails at most `limit` jobs, to keep the transaction short: call it until it returns none.
    """
    waiting = Job.status.in_([QUEUED, literal_column(f"'{Status.PAUSED}'")])
    late = select(Job.id).where(waiting, Job.deadline < moment(now())).order_by(Job.deadline).limit(limit)
    if not (ids := session.scalars(late.with_for_update(skip_locked=True)).all()):
        return []
    message = "waited until its deadline had passed"
    ended = _end(session, waiting, Job.id.in_(ids), reason=Reason.DEADLINE_EXCEEDED, message=message)
    for job_id in ended:
        events.moved(session, job_id)
        unblocking.note_if_waited_for(session, job_id)
    return ended


def can_start(session: Session, job_id: str) -> bool:
    """Return whether a job is queued and everything that it refers to is ready."""
    return session.scalar(select(Job.id).where(Job.id == job_id, claimable(Job))) is not None


def due_bells(session: Session, after: float, limit: int = 100) -> list[str]:
    """Return jobs that can start but were not rung for `after` seconds: lost messages, crashes before the ring.

    It returns at most `limit`, first those that were never rung. That is enough, since a wake-up message only says that
    there is work, and a worker that is awake claims jobs until there are none.
    """
    free, since = select(Job.id).where(claimable(Job)), moment(after_seconds(-after))
    never = free.where(Job.rung_at.is_(None), Job.queued_at < since).order_by(Job.queued_at).limit(limit)
    found = list(session.scalars(never))
    if len(found) < limit:
        found += session.scalars(free.where(Job.rung_at < since).order_by(Job.rung_at).limit(limit - len(found)))
    return found


def mark_rung(session: Session, job_id: str) -> None:
    """Record that a wake-up message is being sent for the job."""
    session.execute(update(Job).where(Job.id == job_id).values(rung_at=now()))


def _end(session: Session, *where: ColumnElement[bool], status: Status = Status.FAILED, **values: Any) -> list[str]:
    """End the jobs that match, and return their ids."""
    statement = update(Job).where(*where, Job.status.in_(sources(status)))
    ended = statement.values(status=status, lease_until=None, finished_at=now(), version=Job.version + 1, **values)
    return list(session.scalars(ended.returning(Job.id).execution_options(synchronize_session=False)))
