"""Rows of workers, what they work on, and the queue. No function commits.

A worker is alive for one lease period after its last beat, by the database's clock: as long as it may hold a job.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from api.db import after_seconds, now
from api.tables import tallies
from api.tables.datasets import Dataset
from api.tables.job_inputs import claimable, in_turn
from api.tables.job_inputs import held as job_held
from api.tables.jobs import QUEUED, Job
from api.tables.models import Model
from api.tables.states import Status
from api.tables.tallies import Tally
from api.tables.uploads import UploadStatus
from api.tables.workers import MOST_COMPLAINT, Worker
from api.wake_ups import TRAIN

What = Literal["job", "dataset", "model"]


@dataclass
class Presence:
    """A worker's report about itself."""

    name: str
    queue: str
    version: str
    cpus: int
    devices: list[dict[str, Any]] = field(default_factory=list)
    complaint: str | None = None  # what keeps it from claiming work


@dataclass(frozen=True)
class Present:
    """A worker, and what it works on."""

    row: Worker
    alive: bool
    works_on: tuple[What, str] | None


@dataclass(frozen=True)
class Queue:
    """The waiting jobs, in the order in which workers claim them."""

    counts: dict[Status, int]  # number of jobs by status
    workers: int  # number of live workers that run jobs
    claimable: int  # number of queued jobs that wait only for a worker
    oldest_seconds: float | None  # how long the oldest queued job has waited
    rows: list[tuple[Job, int | None]]  # jobs, with the position of those that are claimable
    has_more: bool


def join(session: Session, presence: Presence, lease_seconds: float) -> None:
    """Record a worker's start; it replaces one of the same name."""
    leave(session, presence.name)
    row = Worker(name=presence.name, queue=presence.queue, version=presence.version, cpus=presence.cpus)
    row.devices, row.alive_until = presence.devices, after_seconds(lease_seconds)
    row.complaint = _fit(presence.complaint)
    session.add(row)


def beat(session: Session, presence: Presence, lease_seconds: float) -> None:
    """Record a worker's heartbeat."""
    again = update(Worker).where(Worker.name == presence.name).returning(Worker.name)
    values = {"beat_at": now(), "alive_until": after_seconds(lease_seconds), "complaint": _fit(presence.complaint)}
    if session.scalar(again.values(**values)) is None:
        join(session, presence, lease_seconds)


def _fit(complaint: str | None) -> str | None:
    return complaint[:MOST_COMPLAINT] if complaint is not None else None


def leave(session: Session, name: str) -> None:
    """Record a worker's end."""
    session.execute(delete(Worker).where(Worker.name == name))


def forget(session: Session, older_than_seconds: float) -> int:
    """Delete workers that have sent no heartbeat for long; return how many."""
    silent = delete(Worker).where(Worker.alive_until < after_seconds(-older_than_seconds))
    return len(session.scalars(silent.returning(Worker.name)).all())


def alive(session: Session, queue: str = TRAIN) -> int:
    """Count the live workers of a queue."""
    there = select(func.count()).select_from(Worker).where(Worker.queue == queue, Worker.alive_until > now())
    return session.scalar(there) or 0


def with_gpus(session: Session) -> int:
    """Count the live workers that take jobs and have a GPU."""
    there = select(Worker.devices).where(Worker.queue == TRAIN, Worker.alive_until > now())
    return sum(bool(devices) for devices in session.scalars(there))


def present(session: Session) -> list[Present]:
    """Read all workers by name, including lost ones that have not been deleted yet."""
    rows = session.execute(select(Worker, Worker.alive_until > now()).order_by(Worker.name)).all()
    tasks = dict(_tasks(session))
    return [Present(row, bool(is_alive), tasks.get(row.name)) for row, is_alive in rows]


def _tasks(session: Session) -> Iterator[tuple[str | None, tuple[What, str]]]:
    """Yield what each worker holds a lease on."""
    uploads: Sequence[tuple[What, type[Dataset] | type[Model]]] = (("dataset", Dataset), ("model", Model))
    for what, table in uploads:
        held = (table.status == UploadStatus.CHECKING, table.lease_until.is_not(None))
        for worker, id_ in session.execute(select(table.worker, table.id).where(*held)):
            yield worker, (what, id_)
    for worker, id_ in session.execute(select(Job.worker, Job.id).where(job_held(Job))):
        task: tuple[What, str] = ("job", id_)
        yield worker, task


def counts(session: Session) -> dict[Status, int]:
    """Count the jobs by status."""
    found = tallies.totals(session, Tally.what.startswith(tallies.JOB))
    return {status: found[name].number if (name := tallies.JOB + status) in found else 0 for status in Status}


def queue(session: Session, limit: int) -> Queue:
    """Read at most `limit` of the queued jobs in the order of claims, and the counts of all."""
    waits = Job.status == QUEUED
    rows = session.execute(select(Job, claimable(Job)).where(waits).order_by(*in_turn(Job)).limit(limit + 1)).all()
    since = session.scalar(select(func.min(Job.queued_at)).where(waits))
    clock = session.scalars(select(now())).one()
    free = tallies.totals(session, Tally.what == tallies.FREE)
    return Queue(
        counts=counts(session),
        workers=alive(session),
        claimable=free[tallies.FREE].number if free else 0,
        oldest_seconds=(clock - since).total_seconds() if since is not None else None,
        rows=list(_places(rows[:limit])),
        has_more=len(rows) > limit,
    )


def _places(rows: Sequence[Any]) -> Iterator[tuple[Job, int | None]]:
    place = 0
    for job, is_ready in rows:
        place += bool(is_ready)
        yield job, place if is_ready else None
