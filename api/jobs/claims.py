"""The queue's claim: select the next job for a worker, and lease it.

The caller's transaction commits. The lease is set by the database server's clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect, ScalarSelect, func, select, true, union_all, update
from sqlalchemy.orm import Session, aliased
from sqlalchemy.orm.util import AliasedClass

from api.access.quotas import set_aside
from api.db import after_seconds, now
from api.jobs.attempts import service as attempts
from api.jobs.events import service as events
from api.tables.job_inputs import claimable, in_turn, overdue
from api.tables.jobs import Job
from api.tables.states import Status


@dataclass(frozen=True)
class Held:
    """A job that an attempt of a worker holds."""

    id: str
    attempt: int
    kind: str
    spec: dict[str, Any]
    timeout_seconds: int  # wall time of this attempt; 0: no limit
    continues: str | None = None  # the job from whose checkpoints the first attempt starts
    scratch_after: int = 0  # never resume from checkpoints of attempts up to this one
    request_id: str | None = None  # the request that submitted the job
    traceparent: str | None = None  # trace context of the same request


def claim(
    session: Session, worker: str, lease_seconds: float, most_running: int = 0, with_gpu: bool = True
) -> Held | None:
    """Claim the best job that can start: highest priority, then oldest; return None if there is none.

    Args:
        session: the caller's transaction.
        worker: name of the worker that claims it.
        lease_seconds: length of the lease.
        most_running: limit of an owner's running jobs, beyond which other owners' jobs go first; 0: no limit.
        with_gpu: whether the worker has a GPU; otherwise jobs that need one are left to other workers.
    """
    if session.scalar(select(Job.id).where(*_free(Job, with_gpu)).order_by(*in_turn(Job)).limit(1)) is None:
        return None  # without a write: workers poll every few seconds, and SQLite allows one writer at a time
    best = _best(set_aside(session, most_running), with_gpu)
    row = session.execute(
        update(Job)
        .where(Job.id == best, claimable(Job))
        .values(
            status=Status.STARTING,
            attempt=Job.attempt + 1,
            worker=worker,
            lease_until=after_seconds(lease_seconds),
            started_at=func.coalesce(Job.started_at, now()),
            phase=None,
            progress=None,
            pause=None,
            version=Job.version + 1,
        )
        .returning(
            *(Job.id, Job.attempt, Job.kind, Job.spec, Job.timeout_seconds, Job.continues, Job.scratch_after),
            *(Job.request_id, Job.traceparent),
        )
    ).one_or_none()
    if row is None:
        return None
    held = Held(*row)
    attempts.begin(session, held.id, held.attempt, worker)
    events.moved(session, held.id)
    return held


def _best(full: Sequence[str], with_gpu: bool) -> ScalarSelect[str]:
    """Return the query for the next job; it reads only index entries of jobs that can start.

    Args:
        full: owners at their limit of running jobs.
        with_gpu: include jobs that need a GPU.
    """
    candidate = aliased(Job)
    free = _free(candidate, with_gpu)
    # PostgreSQL; SQLite has one writer at a time
    taken = select(candidate.id).limit(1).with_for_update(skip_locked=True, of=candidate)
    if not full:
        return taken.where(*free).order_by(*in_turn(candidate)).scalar_subquery()
    return taken.where(*free, candidate.id.in_(_heads(full, with_gpu))).order_by(*in_turn(candidate)).scalar_subquery()


def _heads(full: Sequence[str], with_gpu: bool) -> CompoundSelect[str | None]:
    """Return the query for the next job of each owner who is not at the limit, however long the queue."""
    first, job = aliased(Job), aliased(Job)
    owners = select(select(func.min(first.owner)).where(claimable(first)).scalar_subquery().label("owner"))
    owner = owners.cte("owner", recursive=True)
    following = select(func.min(first.owner)).where(claimable(first), first.owner > owner.c.owner).scalar_subquery()
    owner = owner.union_all(select(following).where(owner.c.owner.is_not(None)))
    head = select(job.id).where(*_free(job, with_gpu)).order_by(*in_turn(job)).limit(1)
    of_owner = head.where(job.owner == owner.c.owner).scalar_subquery()
    of_nobody = head.where(job.owner.is_(None)).scalar_subquery()
    return union_all(select(of_owner).where(owner.c.owner.is_not(None), owner.c.owner.not_in(full)), select(of_nobody))


def _free(job: type[Job] | AliasedClass[Job], with_gpu: bool) -> tuple[ColumnElement[bool], ...]:
    return claimable(job), ~overdue(job), true() if with_gpu else ~job.gpu
