"""The transitions of a job: conditional UPDATEs, so that the second of two concurrent transitions changes nothing.

These are the worker's and the owner's transitions; the claim is in `api.jobs.claims`, repairs in `api.jobs.expiry`. A
worker's writes name the attempt that they belong to (the fencing token): once another attempt holds the job, they raise
`Fenced` and change nothing. Leases are set and compared by the database server's clock alone. No function commits; the
caller's transaction does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, case, delete, select, update
from sqlalchemy.orm import Session

from api.db import after_seconds, new_id, now
from api.jobs import checkpoint_retention, unblocking, warnings
from api.jobs.attempts import service as attempts
from api.jobs.attempts.service import Outcome
from api.jobs.checkpoint_retention import Retention
from api.jobs.claims import Held
from api.jobs.events import service as events
from api.jobs.events.service import Type
from api.jobs.logs import service as logs
from api.tables.job_inputs import STATE, overdue
from api.tables.jobs import Artifact, Job, JobEpoch
from api.tables.leases import Fenced, Wish
from api.tables.states import HELD, Status, sources
from rdrkd.epochs import ALONE, place_in
from rdrkd.events import Checkpoint, Epoch, Progress
from rdrkd.reasons import Reason


@dataclass(frozen=True)
class Published:
    """A stored file that is complete, hashed and synced, but has no row yet."""

    epoch: int
    name: str
    key: str
    sha256: str
    size: int  # bytes


@dataclass(frozen=True)
class Ending:
    """How an attempt ended the job."""

    status: Status
    reason: Reason | None = None
    message: str | None = None
    problems: list[dict[str, str]] = field(default_factory=list)
    result: dict[str, Any] | None = None


def renew(session: Session, held: Held, lease_seconds: float | None, progress: Progress | None = None) -> Wish | None:
    """Renew the lease, write the newest progress and read the owner's request, in one statement.

    Args:
        session: the caller's transaction.
        held: the attempt that writes.
        lease_seconds: the lease's new length; None: only read the owner's request.
        progress: the newest progress, if it has changed.

    Raises:
        Fenced: another attempt holds the job.
    """
    values: dict[str, Any] = {}
    if lease_seconds is not None:
        values |= {"lease_until": after_seconds(lease_seconds)}
    if progress is not None:
        values |= {"progress": progress.model_dump(mode="json", exclude={"event", "phase"}), "phase": progress.phase}
        values |= {"status": _running(), "version": Job.version + 1}
    wanted = (Job.cancel_requested, overdue(Job), Job.status, Job.pause)
    mine = _fence(held)
    row = session.execute(
        update(Job).where(*mine).values(values).returning(*wanted) if values else select(*wanted).where(*mine)
    ).one_or_none()
    if row is None:
        raise Fenced(held.id)
    if progress is not None:
        events.moved(session, held.id)
    return _wish(*row)


def _wish(cancel_requested: bool, late: bool, status: Status, pause: str | None) -> Wish | None:
    if cancel_requested:
        return Wish.CANCEL
    if late:
        return Wish.DEADLINE
    if status == Status.PAUSING:
        return Wish.PAUSE if pause == "latest" else Wish.PAUSE_SAVED
    return None


def record_running(session: Session, held: Held) -> None:
    """Record that the trainer is running; a job that is being paused or cancelled keeps its status."""
    _write(session, held, status=_running())
    events.moved(session, held.id)


def record_resolved(session: Session, held: Held, resolved_spec: dict[str, Any]) -> None:
    """Store the spec with every default filled in."""
    _write(session, held, resolved_spec=resolved_spec)
    events.add(session, held.id, held.attempt, Type.RESOLVED, {})


def record_epoch(session: Session, held: Held, epoch: Epoch) -> None:
    """Store a finished epoch; an epoch that a resumed attempt repeats replaces the former one.

    The job's metrics stay those of the student while it is trained alone, whose are kept beside them.
    """
    metrics: dict[str, Any] = dict(epoch.metrics)
    if epoch.part == ALONE:
        metrics = {**(session.scalar(select(Job.metrics).where(Job.id == held.id)) or {}), ALONE: metrics}
    _write(session, held, metrics=metrics)
    values = epoch.model_dump(mode="json", exclude={"event"})
    session.merge(JobEpoch(job_id=held.id, epoch=epoch.epoch, attempt=held.attempt, values=values))
    shown = {name: values[name] for name in ("epoch", "epochs", "losses", "metrics", "lr")}
    events.add(session, held.id, held.attempt, Type.EPOCH, shown | place_in(held.spec, epoch.epoch)._asdict())


def record_warning(session: Session, held: Held, code: str, message: str, epoch: int | None = None) -> None:
    """Store a warning of the trainer."""
    _write(session, held)
    if (kept := warnings.add(session, held.id, held.attempt, code, message, epoch)) is not None:
        data = {"code": kept.code, "message": kept.message, "epoch": kept.epoch}
        events.add(session, held.id, held.attempt, Type.WARNING, data | place_in(held.spec, kept.epoch)._asdict())


def record_log(session: Session, held: Held, text: str) -> None:
    """Store lines of the trainer's log."""
    _write(session, held)
    logs.append(session, held.id, held.attempt, text)


def publish(
    session: Session, held: Held, files: Sequence[Published], checkpoint: Checkpoint | None = None
) -> list[str]:
    """Publish stored files as artifacts, fenced like every other write; safe to repeat.

    Args:
        session: the caller's transaction.
        held: the attempt that writes.
        files: the stored files.
        checkpoint: the checkpoint that the files belong to; None: they belong to no checkpoint.

    Returns:
        The storage keys of replaced files (same epoch, same name) to which no row refers any more.
    """
    _write(session, held)
    replaced: set[str] = set()
    for file in files:
        same = (Artifact.job_id == held.id, Artifact.attempt == held.attempt)
        replaced |= set(
            session.scalars(
                delete(Artifact)
                .where(*same, Artifact.epoch == file.epoch, Artifact.name == file.name)
                .returning(Artifact.key)
            )
        )
        row = Artifact(id=new_id("art"), job_id=held.id, attempt=held.attempt)
        row.epoch, row.name, row.key, row.sha256, row.size = file.epoch, file.name, file.key, file.sha256, file.size
        session.add(row)
    _record_published(session, held, files, checkpoint)
    return sorted(replaced - {file.key for file in files})


def _record_published(session: Session, held: Held, files: Sequence[Published], checkpoint: Checkpoint | None) -> None:
    shown: list[dict[str, Any]] = [
        {"epoch": file.epoch, "name": file.name, "size": file.size, "sha256": file.sha256}
        for file in files
        if file.name != STATE
    ]
    if checkpoint is None:
        for file in shown:
            place = place_in(held.spec, file["epoch"], file["name"])
            events.add(session, held.id, held.attempt, Type.ARTIFACT, file | place._asdict())
        return
    attempts.keep(session, held.id, held.attempt, checkpoint)
    data = checkpoint.model_dump(mode="json", include={"epoch", "is_best", "metrics"}) | {"files": shown}
    events.add(session, held.id, held.attempt, Type.CHECKPOINT, data | place_in(held.spec, data["epoch"])._asdict())


def finish(session: Session, held: Held, ending: Ending) -> None:
    """End the job. After that only its owner can change it, by retrying one that failed or was cancelled."""
    _write(
        session,
        held,
        Job.status.in_(sources(ending.status)),
        status=ending.status,
        reason=ending.reason,
        message=ending.message,
        problems=ending.problems,
        result=ending.result,
        lease_until=None,
        finished_at=now(),
    )
    attempts.end(session, held.id, Outcome(ending.status), ending.reason, ending.message)
    events.moved(session, held.id)
    unblocking.changed(session, held.id)


def requeue(session: Session, held: Held, why: str = "drain") -> Status:
    """Return the job to the queue, or to `paused` or `cancelled` if that was requested meanwhile.

    Args:
        session: the caller's transaction.
        held: the attempt that returns it.
        why: `drain`: the worker is being shut down; `outage`: the database was unreachable for too long.
    """
    cancelling = Job.status == Status.CANCELLING
    _write(
        session,
        held,
        status=case((cancelling, Status.CANCELLED), (Job.status == Status.PAUSING, Status.PAUSED), else_=Status.QUEUED),
        reason=case((cancelling, Reason.USER_CANCELLED), else_=None),
        finished_at=case((cancelling, now()), else_=None),
        lease_until=None,
        rung_at=None,
    )
    status = Status(session.scalars(select(Job.status).where(Job.id == held.id)).one())
    match status:
        case Status.CANCELLED:
            attempts.end(session, held.id, Outcome.CANCELLED, Reason.USER_CANCELLED)
        case Status.PAUSED:
            attempts.end(session, held.id, Outcome.PAUSED)
        case _:
            attempts.end(session, held.id, Outcome.GIVEN_BACK, why)
    events.moved(session, held.id, None if status == Status.PAUSED else why)
    if status == Status.CANCELLED:
        unblocking.changed(session, held.id)
    return status


def abandon(session: Session, held: Held) -> None:
    """Expire the lease now, because the trainer died through no fault of the job; the reaper counts a lost worker."""
    _write(session, held, lease_until=now())


def request_cancel(session: Session, job_id: str) -> Status | None:
    """Request a cancel: queued, paused -> cancelled at once, held -> cancelling; repetition changes nothing.

    Returns:
        The status after the request, or None if there is no such job. A job that has ended keeps its status.
    """
    waiting = (Status.QUEUED, Status.PAUSED)
    queued = Job.status.in_(waiting)
    status: Status | None = session.scalar(
        update(Job)
        .where(Job.id == job_id, Job.status.in_([*waiting, *sources(Status.CANCELLING)]))
        .values(
            status=case((queued, Status.CANCELLED), else_=Status.CANCELLING),
            reason=case((queued, Reason.USER_CANCELLED), else_=None),
            finished_at=case((queued, now()), else_=None),
            cancel_requested=True,
            version=Job.version + 1,
        )
        .returning(Job.status)
    )
    if status is not None:
        events.moved(session, job_id)
        if status == Status.CANCELLED:
            unblocking.changed(session, job_id)
    else:
        status = session.scalar(select(Job.status).where(Job.id == job_id))
    return None if status is None else Status(status)


def prune(session: Session, held: Held, kept: Retention) -> list[str]:
    """Delete the checkpoints of a held job that the retention policy does not keep; return their storage keys."""
    _write(session, held)
    return checkpoint_retention.prune(session, held.id, kept)


def _fence(held: Held) -> tuple[ColumnElement[bool], ...]:
    return Job.id == held.id, Job.attempt == held.attempt, Job.status.in_(HELD)


def _running() -> ColumnElement[str]:
    return case((Job.status == Status.STARTING, Status.RUNNING), else_=Job.status)


def _write(session: Session, held: Held, *where: ColumnElement[bool], **values: Any) -> None:
    statement = update(Job).where(*_fence(held), *where).values(version=Job.version + 1, **values)
    if session.execute(statement.execution_options(synchronize_session=False)).rowcount == 0:  # type: ignore[attr-defined]
        raise Fenced(held.id)
