"""Rows of jobs' events."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from api.db import Base, UtcDateTime, now


class JobEvent(Base):
    """An event of a job, written in the transaction of the change itself (`api.jobs.events.service`)."""

    __tablename__ = "job_event"

    job_id: Mapped[str] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)  # 1, 2, ... without a gap
    type: Mapped[str] = mapped_column(String(20))
    attempt: Mapped[int]  # 0: before the first
    data: Mapped[dict[str, Any]]
    at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())
