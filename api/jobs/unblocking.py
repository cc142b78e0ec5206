"""Dependencies of queued jobs, stored as a flag: `Job.waits` is true until everything a job refers to can be used.

So a claim reads one index, whatever else is queued. A transaction that ends a job, makes a dataset or model ready or
invalid, or deletes any of these must call `changed`, which lets the dependants start or fail. It processes at most
`BATCH` of them and records the rest, which workers and reaper process later (`advance`). The table `job_dependency`
contains what each job refers to and is written with the job; `open` means that the job may wait for it.

No function waits for a row lock: a dependant that another transaction holds is left for the next batch. So a
transaction that ends a job and one that moves a dependant of it cannot block each other on PostgreSQL. No change is
missed while a job is being queued: its transaction holds the rows that it refers to until the commit (`enter`), so
either it sees a change of theirs, or the change sees the job. No function commits.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from api.db import Database, new_id, now
from api.jobs.events import service as events
from api.ownership import EVERYBODYS
from api.tables.job_inputs import is_ready, look_up, problems_of, references
from api.tables.jobs import DependencyChange, Job, JobDependency
from api.tables.states import Status
from rdrkd.reasons import Reason

BATCH = 100  # dependants per transaction
STUCK = 10  # consecutive batches of locked rows, after which the rest is left for later
_PLAIN = {**EVERYBODYS, "synchronize_session": False}


@dataclass
class Batch:
    """The outcome of processing a batch of dependants."""

    failed: list[str] = field(default_factory=list)  # jobs that can never start
    looked_at: int = 0
    left: bool = False  # whether dependants remain, which have been recorded for later


def enter(session: Session, job: Job) -> None:
    """Record what a job refers to; call this after the new row has been flushed and before the commit.

    Until the commit, none of these rows can be deleted, and none that cannot be used yet can change.
    """
    ids = sorted(set(references(job.spec).values()))
    waits = _look(session, job.id, job.spec)
    session.execute(insert(JobDependency), [{"job_id": job.id, "on_id": id_, "open": waits} for id_ in ids])
    if waits:
        session.execute(update(Job).where(Job.id == job.id).values(waits=True), execution_options=_PLAIN)
        set_committed_value(job, "waits", True)


def enter_again(session: Session, job_id: str, spec: dict[str, Any]) -> None:
    """Re-evaluate what a job refers to after this transaction has re-queued it."""
    waits = _look(session, job_id, spec)
    session.execute(update(Job).where(Job.id == job_id).values(waits=waits), execution_options=_PLAIN)
    opened = update(JobDependency).where(JobDependency.job_id == job_id).values(open=waits)
    session.execute(opened, execution_options=_PLAIN)


def _look(session: Session, job_id: str, spec: dict[str, Any]) -> bool:
    """Return whether a job has to wait for what it refers to; lock these rows until the commit."""
    ids = set(references(spec).values())
    found = look_up(session, ids, lock="delete")
    if is_ready(spec, found):
        return False
    found = look_up(session, ids, lock="change")
    for culprit, _ in islice(problems_of(spec, found), 1):
        note(session, culprit, after=job_id[:-1])  # it fails after this commit
    return not is_ready(spec, found)


def changed(session: Session, on_id: str) -> list[str]:
    """Unblock the jobs that waited only for this, and fail those that can never start; return the latter.

    Call it in the transaction in which a dataset or model becomes ready or invalid or is deleted, or a job ends. In the
    transaction of a request it only records the change, because that transaction does not see other owners' jobs, and
    to avoid delaying the response.
    """
    if "caller" not in session.info:
        return _spread(session, on_id).failed
    note_if_waited_for(session, on_id)
    return []


def note_if_waited_for(session: Session, on_id: str) -> None:
    """Schedule the processing of the dependants of something, if there are any."""
    if _open(session, on_id, limit=1):
        note(session, on_id)


def note(session: Session, on_id: str, after: str = "") -> None:
    """Schedule the processing of the dependants of something, from the one that follows the job `after`."""
    session.execute(insert(DependencyChange).values(id=new_id("chg"), on_id=on_id, after=after))


def advance(session: Session) -> Batch | None:
    """Process one batch of the oldest recorded change; return None if there is none."""
    if session.scalar(select(DependencyChange.id).limit(1)) is None:
        return None  # without a write, which would block other writers on SQLite
    oldest = select(DependencyChange.id).order_by(DependencyChange.id).limit(1).with_for_update(skip_locked=True)
    taken = delete(DependencyChange).where(DependencyChange.id == oldest.scalar_subquery())
    row = session.execute(
        taken.returning(DependencyChange.on_id, DependencyChange.after), execution_options=_PLAIN
    ).one_or_none()
    return _spread(session, row.on_id, row.after) if row is not None else None


def catch_up(database: Database, seconds: float = 5.0) -> Iterator[str]:
    """Process recorded changes for at most `seconds`, each batch in a transaction; yield the jobs that failed."""
    end, stuck = time.monotonic() + seconds, 0
    while stuck < STUCK and time.monotonic() < end:
        with database.transaction() as session:
            batch = advance(session)
        if batch is None:
            return
        stuck = stuck + 1 if batch.left and not batch.looked_at else 0
        yield from batch.failed


def settle(session: Session, job_ids: Sequence[str]) -> tuple[list[str], set[str]]:
    """Unblock those of these jobs that no longer wait for anything, and fail those that can never start.

    Returns:
        The jobs that have failed, and those that were skipped because another transaction holds them.
    """
    mine = select(Job.id, Job.status, Job.waits, Job.spec).where(Job.id.in_(job_ids)).order_by(Job.id)
    rows = session.execute(mine.with_for_update(skip_locked=True), execution_options=EVERYBODYS).all()
    waiting = {row.id: row.spec for row in rows if row.status == Status.QUEUED and row.waits}
    found = look_up(session, (id_ for spec in waiting.values() for id_ in references(spec).values()))
    ready = [job_id for job_id, spec in waiting.items() if is_ready(spec, found)]
    problems = {job_id: why for job_id, spec in waiting.items() for _, why in islice(problems_of(spec, found), 1)}
    if ready:
        session.execute(update(Job).where(Job.id.in_(ready)).values(waits=False), execution_options=_PLAIN)
    for problem in set(problems.values()):
        _fail(session, [job_id for job_id, its in problems.items() if its == problem], *problem)
    looked_at = {row.id for row in rows}
    if done := looked_at - (waiting.keys() - {*ready, *problems}):
        closed = update(JobDependency).where(JobDependency.job_id.in_(done)).values(open=False)
        session.execute(closed, execution_options=_PLAIN)
    return list(problems), set(job_ids) - looked_at


def _fail(session: Session, job_ids: Sequence[str], reason: Reason, message: str) -> None:
    values = {"status": Status.FAILED, "reason": reason, "message": message, "finished_at": now(), "lease_until": None}
    failed = update(Job).where(Job.id.in_(job_ids)).values(**values, version=Job.version + 1)
    session.execute(failed, execution_options=_PLAIN)
    events.failed(session, job_ids, reason)


def _spread(session: Session, on_id: str, after: str = "") -> Batch:
    """Update the dependants of something, and those of dependants that fail, until a batch is full."""
    todo, batch = deque([(on_id, after)]), Batch()
    while todo and batch.looked_at < BATCH:
        on_id, after = todo.popleft()
        room = BATCH - batch.looked_at
        if not (ids := _open(session, on_id, after, room)):
            continue
        failed, held = settle(session, ids)
        batch.failed += failed
        batch.looked_at += len(ids) - len(held)
        todo.extend((job_id, "") for job_id in _waited_for(session, failed))
        if held:  # everything before the first of them has been processed
            first = min(held)
            note(session, on_id, max([after, *(job_id for job_id in ids if job_id < first)]))
            batch.left = True
        elif len(ids) == room:
            todo.append((on_id, ids[-1]))
    for on_id, after in todo:
        if _open(session, on_id, after, limit=1):
            note(session, on_id, after)
            batch.left = True
    return batch


def _waited_for(session: Session, job_ids: Sequence[str]) -> Sequence[str]:
    """Select the jobs that others may wait for."""
    if not job_ids:
        return []
    open_ = (JobDependency.on_id.in_(job_ids), JobDependency.open)
    return session.scalars(select(JobDependency.on_id).where(*open_).distinct().order_by(JobDependency.on_id)).all()


def _open(session: Session, on_id: str, after: str = "", limit: int = BATCH) -> Sequence[str]:
    """Return jobs that may wait for something, in order, those after the job `after`."""
    dependants = select(JobDependency.job_id).where(JobDependency.on_id == on_id, JobDependency.open)
    return session.scalars(
        dependants.where(JobDependency.job_id > after).order_by(JobDependency.job_id).limit(limit)
    ).all()
