"""Rows of workers."""

from datetime import datetime
from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from api.db import Base, UtcDateTime, now

MOST_COMPLAINT = 300  # characters


class Worker(Base):
    """A running worker process; it deletes its row when it exits normally."""

    __tablename__ = "worker"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)  # host:process, as in a job's `worker`
    queue: Mapped[str] = mapped_column(String(20))
    version: Mapped[str] = mapped_column(String(40))
    cpus: Mapped[int]
    devices: Mapped[list[Any]]  # [{name, memory in bytes}]
    complaint: Mapped[str | None] = mapped_column(String(MOST_COMPLAINT))  # why it cannot claim work
    since: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())
    beat_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())
    alive_until: Mapped[datetime] = mapped_column(UtcDateTime)  # its heartbeat lease, by the database's clock
