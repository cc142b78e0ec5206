"""Rows of trainers' logs."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from api.db import Base, UtcDateTime, now


class JobLog(Base):
    """A chunk of an attempt's log, in whole lines; the oldest are deleted (`api.jobs.logs.service`)."""

    __tablename__ = "job_log"

    job_id: Mapped[str] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)  # 1, 2, ...
    start: Mapped[int] = mapped_column(BigInteger)  # characters of this attempt before it
    size: Mapped[int]  # characters
    text: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())
