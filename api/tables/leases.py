"""Claimable rows: the holder of a row's lease works on it, and the attempt number fences all others."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from api.db import UtcDateTime


class Leased:
    """Columns of a row that one worker at a time works on (a job, or an upload being checked)."""

    attempt: Mapped[int] = mapped_column(default=0)  # the fencing token: +1 at every claim
    worker: Mapped[str | None] = mapped_column(String(200))
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)  # null: not held
    rung_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # when a wake-up was last sent for it
    lost_workers: Mapped[int] = mapped_column(default=0)  # expired leases; limited, so that no row is retried for ever


class Wish(StrEnum):
    """An owner's request to the holder of a row."""

    CANCEL = "cancel"  # stop; the job ends
    DEADLINE = "deadline"  # stop; the job's deadline has passed
    PAUSE = "pause"  # stop; the job waits
    PAUSE_SAVED = "pause_saved"  # likewise, once the next checkpoint is stored


class Fenced(Exception):
    """The row now belongs to another attempt, or its work has ended: this worker must stop and write nothing more."""
