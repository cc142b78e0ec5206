"""Rows of jobs and of their attempts' results."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnClause,
    ForeignKey,
    Index,
    String,
    Text,
    UniqueConstraint,
    false,
    literal_column,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from api.db import Base, UtcDateTime, now
from api.ownership import Owned
from api.tables.leases import Leased
from api.tables.states import Status

# A literal, not a parameter, so that the planner can match a partial index.
QUEUED: ColumnClause[str] = literal_column(f"'{Status.QUEUED}'", String)
COMPARE = "compare"  # kind of jobs that draw reports of studies
WITH_WEIGHTS = frozenset({"distill", "train"})  # kinds of jobs that produce weights


class Job(Leased, Owned, Base):
    """A job. The row is the source of truth; a broker message only wakes workers."""

    __tablename__ = "job"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)  # job_<uuid7>: sorts by time
    kind: Mapped[str] = mapped_column(String(20))
    name: Mapped[str | None] = mapped_column(String(200))
    owner: Mapped[str | None] = mapped_column(String(64))  # indexed below, together with other columns
    status: Mapped[Status] = mapped_column(String(20), default=Status.QUEUED)
    reason: Mapped[str | None] = mapped_column(String(40))
    message: Mapped[str | None] = mapped_column(Text)
    problems: Mapped[list[Any]] = mapped_column(JSON, default=list)  # [{where, detail}]
    spec: Mapped[dict[str, Any]]
    resolved_spec: Mapped[dict[str, Any] | None]
    result: Mapped[dict[str, Any] | None]
    priority: Mapped[int] = mapped_column(default=0)
    timeout_seconds: Mapped[int]  # of an attempt; 0: no limit
    deadline: Mapped[datetime | None] = mapped_column(UtcDateTime)  # time by which it must have ended
    waits: Mapped[bool] = mapped_column(default=False, server_default=false())  # waits for a dependency: `unblocking`
    gpu: Mapped[bool] = mapped_column(default=False, server_default=false())  # needs a worker with a GPU
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    pause: Mapped[str | None] = mapped_column(String(10))  # while pausing: `save` or `latest`
    continues: Mapped[str | None] = mapped_column(String(40))  # id of the job from whose checkpoints it starts
    scratch_after: Mapped[int] = mapped_column(default=0)  # never resume from checkpoints of attempts up to this one
    earlier: Mapped[list[Any]] = mapped_column(JSON, default=list)  # earlier endings, before retries
    phase: Mapped[str | None] = mapped_column(String(20))
    study: Mapped[str | None] = mapped_column(String(40))  # id of the study whose report it draws
    request_id: Mapped[str | None] = mapped_column(String(40))  # of the submitting request
    traceparent: Mapped[str | None] = mapped_column(String(55))  # of that request (W3C Trace Context), if traced
    progress: Mapped[dict[str, Any] | None]  # the last progress event: completed, total, unit, epoch, eta_seconds
    metrics: Mapped[dict[str, Any] | None]  # the last epoch's metrics
    version: Mapped[int] = mapped_column(default=1)  # +1 at every write; the ETag of the job
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())
    queued_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


def _partial(name: str, *columns: Any, sqlite: str, postgresql: str | None = None) -> Index:
    return Index(name, *columns, sqlite_where=text(sqlite), postgresql_where=text(postgresql or sqlite))


# The cost of a queue query must not grow with the queue: each has an index in the query's order.
_IN_TURN = (Job.priority.desc(), Job.queued_at, Job.id)
_FREE = {"sqlite": "status = 'queued' AND waits = 0", "postgresql": "status = 'queued' AND NOT waits"}
_FREE_CPU = {"sqlite": f"{_FREE['sqlite']} AND gpu = 0", "postgresql": f"{_FREE['postgresql']} AND NOT gpu"}
_LIMITED = "status IN ('queued', 'paused') AND deadline IS NOT NULL"
Index("ix_job_owner_id", Job.owner, Job.id)  # an owner's newest jobs
Index("ix_job_status_id", Job.status, Job.id)
Index("ix_job_owner_status_id", Job.owner, Job.status, Job.id)  # and an owner's quotas
_partial("ix_job_continues", Job.continues, sqlite="continues IS NOT NULL")
_partial("ix_job_lease", Job.lease_until, sqlite="lease_until IS NOT NULL")
_partial("ix_job_claim", *_IN_TURN, **_FREE)
_partial("ix_job_claim_cpu", *_IN_TURN, **_FREE_CPU)  # for workers without a GPU
_partial("ix_job_claim_owner", Job.owner, *_IN_TURN, **_FREE)  # while some owners are at their limit of running jobs
_partial("ix_job_silent", Job.rung_at, Job.queued_at, **_FREE)
_partial("ix_job_queue", *_IN_TURN, sqlite="status = 'queued'")
_partial("ix_job_queue_owner", Job.owner, *_IN_TURN, sqlite="status = 'queued'")
_partial("ix_job_oldest", Job.queued_at, sqlite="status = 'queued'")
_partial("ix_job_paused", Job.queued_at, sqlite="status = 'paused'")
_partial("ix_job_oldest_owner", Job.owner, Job.queued_at, sqlite="status = 'queued'")
_partial("ix_job_deadline", Job.deadline, sqlite=_LIMITED)
_partial("ix_job_study", Job.study, sqlite="study IS NOT NULL")
_partial("ix_job_report", Job.id, sqlite=f"kind = '{COMPARE}'")


class JobDependency(Base):
    """A dataset, model or job that a job refers to (`api.tables.job_inputs`)."""

    __tablename__ = "job_dependency"
    __table_args__ = (
        Index("ix_job_dependency_on_id", "on_id", "job_id"),
        _partial("ix_job_dependency_open", "on_id", "job_id", sqlite="open = 1", postgresql="open"),
    )

    job_id: Mapped[str] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    on_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    open: Mapped[bool]  # the job may wait for it, and is re-evaluated when it becomes ready, ends or is deleted


class DependencyChange(Base):
    """A change of a dependency whose dependants have not all been processed yet."""

    __tablename__ = "dependency_change"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)  # chg_<uuid7>: oldest first
    on_id: Mapped[str] = mapped_column(String(40))
    after: Mapped[str] = mapped_column(String(40), default="")  # dependants up to this job have been processed


class JobEpoch(Base):
    """One trained epoch of a job, with the complete epoch event. A resumed attempt overwrites repeated epochs."""

    __tablename__ = "job_epoch"

    job_id: Mapped[str] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    attempt: Mapped[int]
    values: Mapped[dict[str, Any]]  # rdrkd.events.Epoch


class JobWarning(Base):
    """A warning of the trainer; repetitions in the same attempt are counted (`api.jobs.warnings`)."""

    __tablename__ = "job_warning"

    job_id: Mapped[str] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)  # 1, 2, ... in order of first occurrence
    attempt: Mapped[int]
    code: Mapped[str] = mapped_column(String(100))
    message: Mapped[str] = mapped_column(String(500))
    count: Mapped[int]
    epoch: Mapped[int | None]  # 1-based epoch of its first occurrence; none outside the epochs
    at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())  # time of its first occurrence


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
    epoch: Mapped[int]  # of its checkpoint
    name: Mapped[str] = mapped_column(String(100))  # student.pt, state.pt, ...
    key: Mapped[str] = mapped_column(String(300))  # storage key
    sha256: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())
