"""Rows of attempts at jobs."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from api.db import Base, UtcDateTime, now


class JobAttempt(Base):
    """One run of a worker on a job: written with the claim, completed by the transition that ends it."""

    __tablename__ = "job_attempt"
    __table_args__ = (
        Index(
            "ix_job_attempt_going_on",
            "started_at",
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
    )

    job_id: Mapped[str] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    worker: Mapped[str] = mapped_column(String(200))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    outcome: Mapped[str | None] = mapped_column(String(20))  # null while it is running
    reason: Mapped[str | None] = mapped_column(String(40))
    message: Mapped[str | None] = mapped_column(Text)


class JobCheckpoint(Base):
    """A trainer's report of a checkpoint; its files are artifacts of the same attempt and epoch, deleted with it."""

    __tablename__ = "job_checkpoint"

    job_id: Mapped[str] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    is_best: Mapped[bool]  # of all so far
    metrics: Mapped[dict[str, Any]]  # of this epoch, percent
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())
