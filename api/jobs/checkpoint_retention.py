"""The retention policy of checkpoints: the newest, the best, every k-th. Functions never commit."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.orm import Session

from api.jobs.attempts import service as attempts
from api.settings import Settings
from api.tables.attempts import JobCheckpoint
from api.tables.job_inputs import STATE
from api.tables.jobs import Artifact, Job
from api.tables.states import TERMINAL, Status

Place = tuple[int, int]  # (attempt, epoch): the files of a checkpoint
CHECKPOINT = (STATE, "student.pt", "student.safetensors")  # files with one of these names are a checkpoint


@dataclass(frozen=True)
class Retention:
    """Which checkpoints of a job to keep.

    Args:
        last: number of newest checkpoints to keep, at least one.
        best: also keep the best by its metrics.
        every: also keep those whose epoch is a multiple of this; 0: none.
        state: keep the resume states of a job that has succeeded, although nothing resumes from them.
    """

    last: int = 2
    best: bool = False
    every: int = 0
    state: bool = False

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the policy of the settings."""
        return cls(
            settings.checkpoints_keep_last,
            settings.checkpoints_keep_best,
            settings.checkpoints_keep_every,
            settings.checkpoints_keep_state,
        )

    def kept(self, files: Iterable[tuple[Place, str]], best: Place | None) -> set[Place]:
        """Return the checkpoints to keep, given the existing files as (checkpoint, file name).

        Checkpoints of a later attempt count as newer, whatever their epoch, because that attempt may have had to start
        from the first epoch. The files of an attempt that has no checkpoint do not count as one. The newest file of
        each name is always kept, because the job serves it and other jobs start from it.

        >>> files = [((1, epoch), "state.pt") for epoch in range(1, 23)] + [((2, 0), "metrics.jsonl")]
        >>> sorted(Retention(last=1, best=True, every=10).kept(files, best=(1, 7)))
        [(1, 7), (1, 10), (1, 20), (1, 22), (2, 0)]
        """
        newest: dict[str, Place] = {}
        checkpoints: set[Place] = set()
        for place, name in files:
            newest[name] = max(place, newest.get(name, place))
            if name in CHECKPOINT:
                checkpoints.add(place)
        kept = {*newest.values(), *sorted(checkpoints, reverse=True)[: self.last]}
        if self.best and best is not None:
            kept.add(best)
        if self.every:
            kept |= {(attempt, epoch) for attempt, epoch in checkpoints if epoch and epoch % self.every == 0}
        return kept


def prune(session: Session, job_id: str, policy: Retention) -> list[str]:
    """Delete the checkpoints that the policy does not keep; return the storage keys that no row refers to any more."""
    old, rest = _old(session, job_id, policy)
    for row in old:
        session.delete(row)
    attempts.forget(session, job_id, _places(old) - _places(rest))
    return sorted({row.key for row in old})


def prune_ended(session: Session, job_id: str, policy: Retention) -> list[str]:
    """Prune a job's checkpoints, unless it has been retried or deleted meanwhile; return the storage keys likewise."""
    if not _old(session, job_id, policy)[0]:
        return []
    ended = update(Job).where(Job.id == job_id, Job.status.in_(TERMINAL)).values(version=Job.version + 1)
    held = session.scalar(ended.returning(Job.id).execution_options(synchronize_session=False))
    return prune(session, job_id, policy) if held is not None else []


def ended_with_more(session: Session, policy: Retention) -> list[str]:
    """Return the ended jobs that may have files that the policy does not keep."""
    places = select(Artifact.job_id, Artifact.attempt, Artifact.epoch).distinct().subquery()
    many = select(places.c.job_id).group_by(places.c.job_id).having(func.count() > policy.last)
    more = and_(Job.id.in_(many), Job.status.in_(TERMINAL))
    if not policy.state:
        states = select(Artifact.job_id).where(Artifact.name == STATE)
        more = or_(more, and_(Job.id.in_(states), Job.status == Status.SUCCEEDED))
    return list(session.scalars(select(Job.id).where(more).order_by(Job.id)))


def _old(session: Session, job_id: str, policy: Retention) -> tuple[list[Artifact], list[Artifact]]:
    """Return the files to delete and those to keep."""
    rows = session.scalars(select(Artifact).where(Artifact.job_id == job_id)).all()
    kept = policy.kept((((row.attempt, row.epoch), row.name) for row in rows), _best(session, job_id))
    status = session.scalar(select(Job.status).where(Job.id == job_id))
    over = {STATE} if status == Status.SUCCEEDED and not policy.state else set()
    old = [row for row in rows if (row.attempt, row.epoch) not in kept or row.name in over]
    return old, [row for row in rows if row not in old]


def _places(rows: Iterable[Artifact]) -> set[Place]:
    return {(row.attempt, row.epoch) for row in rows}


def _best(session: Session, job_id: str) -> Place | None:
    """Return the best remaining checkpoint; each records whether it was the best so far."""
    newest_best = (
        select(JobCheckpoint.attempt, JobCheckpoint.epoch)
        .where(JobCheckpoint.job_id == job_id, JobCheckpoint.is_best)
        .order_by(JobCheckpoint.attempt.desc(), JobCheckpoint.epoch.desc())
        .limit(1)
    )
    row = session.execute(newest_best).one_or_none()
    return (row.attempt, row.epoch) if row is not None else None
