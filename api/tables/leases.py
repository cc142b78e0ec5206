"""What makes a row claimable: whoever holds its lease works on it, the attempt number fences everyone else."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from api.db import UtcDateTime


class Leased:
    """Columns of a row that one worker at a time works on (a job, an upload that is being checked)."""

    attempt: Mapped[int] = mapped_column(default=0)  # the fencing token: +1 at every claim
    worker: Mapped[str | None] = mapped_column(String(200))
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)  # null: nobody holds it
    rung_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # when its doorbell was last rung
    lost_workers: Mapped[int] = mapped_column(default=0)  # leases that expired; limited, so that no row loops for ever


class Wish(StrEnum):
    """What the owner of a row wants of whoever holds it."""

    CANCEL = "cancel"  # stop; it is to end
    DEADLINE = "deadline"  # stop; the moment by which it was to end has passed
    PAUSE = "pause"  # stop; it is to wait
    PAUSE_SAVED = "pause_saved"  # likewise, once the next checkpoint is kept


class Fenced(Exception):
    """The row belongs to another attempt by now, or its work is over: this worker must stop and write nothing more."""
