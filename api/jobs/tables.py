"""Rows of jobs and of what an attempt leaves behind."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from api.db import Base, UtcDateTime, now
from api.jobs.states import Status
from api.leases import Leased
from api.ownership import Owned

COMPARE = "compare"  # the kind of the jobs that draw reports of studies


class Job(Leased, Owned, Base):
    """A job: the row is the truth; the message in the broker only says that there is one."""

    __tablename__ = "job"
    __table_args__ = (Index("ix_job_claim", "status", "priority", "queued_at"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)  # job_<uuid7>: sorts by time
    kind: Mapped[str] = mapped_column(String(20))
    name: Mapped[str | None] = mapped_column(String(200))
    status: Mapped[Status] = mapped_column(String(20), default=Status.QUEUED, index=True)
    reason: Mapped[str | None] = mapped_column(String(40))
    message: Mapped[str | None] = mapped_column(Text)
    problems: Mapped[list[Any]] = mapped_column(JSON, default=list)  # [{where, detail}]
    spec: Mapped[dict[str, Any]]
    resolved_spec: Mapped[dict[str, Any] | None]
    result: Mapped[dict[str, Any] | None]
    priority: Mapped[int] = mapped_column(default=0)
    timeout_seconds: Mapped[int]
    deadline: Mapped[datetime | None] = mapped_column(UtcDateTime)  # by which it must have ended
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    pause: Mapped[str | None] = mapped_column(String(10))  # of one that is pausing: `save` or `latest`
    continues: Mapped[str | None] = mapped_column(String(40))  # id of the job with whose checkpoints it begins
    scratch_after: Mapped[int] = mapped_column(default=0)  # no attempt goes on from checkpoints of those up to this
    earlier: Mapped[list[Any]] = mapped_column(JSON, default=list)  # how it ended before its owner let it go on
    phase: Mapped[str | None] = mapped_column(String(20))
    progress: Mapped[dict[str, Any] | None]  # the last progress event: completed, total, unit, epoch, eta_seconds
    metrics: Mapped[dict[str, Any] | None]  # the last epoch's metrics
    version: Mapped[int] = mapped_column(default=1)  # +1 at every write; the ETag of the job
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())
    queued_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class JobEpoch(Base):
    """One trained epoch of a job: the epoch event, whole. A resumed attempt overwrites what it trains again."""

    __tablename__ = "job_epoch"

    job_id: Mapped[str] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    attempt: Mapped[int]
    values: Mapped[dict[str, Any]]  # rdrkd.events.Epoch


class JobWarning(Base):
    """Something that the trainer warned of; the same again in the same attempt is counted (`api.jobs.warnings`)."""

    __tablename__ = "job_warning"

    job_id: Mapped[str] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)  # 1, 2, ... in the order in which they first came
    attempt: Mapped[int]
    code: Mapped[str] = mapped_column(String(100))
    message: Mapped[str] = mapped_column(String(500))
    count: Mapped[int]
    epoch: Mapped[int | None]  # 1-based, in which it first came; none outside the epochs
    at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())  # when it first came


class Artifact(Base):
    """A file that an attempt published: written, hashed, synced and renamed into place before this row appears."""

    __tablename__ = "artifact"
    __table_args__ = (
        UniqueConstraint("job_id", "attempt", "epoch", "name"),
        Index("ix_artifact_job_name", "job_id", "name"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)  # art_<uuid7>
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"))
    attempt: Mapped[int]
    epoch: Mapped[int]  # of the checkpoint it belongs to
    name: Mapped[str] = mapped_column(String(100))  # student.pt, state.pt, ...
    key: Mapped[str] = mapped_column(String(300))  # where in the storage
    sha256: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())
