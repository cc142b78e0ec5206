"""A job's attempts and stored checkpoints. No function commits."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile

from sqlalchemy import delete, select, tuple_, update
from sqlalchemy.orm import Session

from api.db import now
from api.tables.attempts import JobAttempt, JobCheckpoint
from api.tables.job_inputs import STATE
from api.tables.jobs import Artifact
from rdrkd.events import Checkpoint


class Outcome(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"  # so did the job
    FAILED = "failed"  # so did the job
    CANCELLED = "cancelled"  # so was the job
    PAUSED = "paused"  # the job was paused
    GIVEN_BACK = "given_back"  # the worker returned it: it was drained, or lost the database, or its disk was full
    LOST = "lost"  # the worker stopped renewing its lease


@dataclass(frozen=True)
class Kept:
    """A checkpoint with the files that are still stored, except its resume state."""

    row: JobCheckpoint
    files: list[Artifact]
    is_best: bool  # among all checkpoints so far
    is_last: bool


def begin(session: Session, job_id: str, attempt: int, worker: str) -> None:
    """Record that a worker has claimed a job."""
    session.add(JobAttempt(job_id=job_id, attempt=attempt, worker=worker))
    session.flush()


def end(session: Session, job_id: str, outcome: Outcome, reason: str | None = None, message: str | None = None) -> None:
    """Record how a job's current attempt ended; an attempt that has ended keeps its outcome."""
    running = update(JobAttempt).where(JobAttempt.job_id == job_id, JobAttempt.ended_at.is_(None))
    session.execute(running.values(ended_at=now(), outcome=outcome, reason=reason, message=message))


def given_back_in_a_row(session: Session, job_id: str, reason: str) -> int:
    """Count how many of a job's latest attempts in a row were returned to the queue for this reason."""
    ended = select(JobAttempt.outcome, JobAttempt.reason).where(
        JobAttempt.job_id == job_id, JobAttempt.ended_at.is_not(None)
    )
    newest_first = session.execute(ended.order_by(JobAttempt.attempt.desc()))
    return len(list(takewhile(lambda row: tuple(row) == (Outcome.GIVEN_BACK, reason), newest_first)))


def of(session: Session, job_id: str) -> list[JobAttempt]:
    """Read a job's attempts in order."""
    own = select(JobAttempt).where(JobAttempt.job_id == job_id)
    return list(session.scalars(own.order_by(JobAttempt.attempt)))


def keep(session: Session, job_id: str, attempt: int, checkpoint: Checkpoint) -> None:
    """Record a checkpoint that the trainer reported; safe to repeat."""
    row = JobCheckpoint(job_id=job_id, attempt=attempt, epoch=checkpoint.epoch)
    row.is_best, row.metrics = checkpoint.is_best, checkpoint.metrics
    session.merge(row)


def forget(session: Session, job_id: str, which: Iterable[tuple[int, int]]) -> None:
    """Delete the rows of checkpoints, given as (attempt, epoch), whose files are deleted."""
    which = list(which)
    if not which:
        return
    place = tuple_(JobCheckpoint.attempt, JobCheckpoint.epoch)
    session.execute(delete(JobCheckpoint).where(JobCheckpoint.job_id == job_id, place.in_(which)))


def checkpoints(session: Session, job_id: str) -> list[Kept]:
    """Read the stored checkpoints, newest first."""
    newest_first = (JobCheckpoint.attempt.desc(), JobCheckpoint.epoch.desc())
    rows = session.scalars(select(JobCheckpoint).where(JobCheckpoint.job_id == job_id).order_by(*newest_first)).all()
    files: dict[tuple[int, int], list[Artifact]] = {(row.attempt, row.epoch): [] for row in rows}
    published = select(Artifact).where(Artifact.job_id == job_id, Artifact.name != STATE)
    for file in session.scalars(published.order_by(Artifact.name)):
        files.setdefault((file.attempt, file.epoch), []).append(file)
    best = next((row for row in rows if row.is_best), None)
    return [
        Kept(row, files[row.attempt, row.epoch], is_best=row is best, is_last=row is rows[0])
        for row in rows
    ]  # fmt: skip
