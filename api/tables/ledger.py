"""Rows of bytes that are being written."""

from datetime import datetime

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from api.db import Base, UtcDateTime, now


class Reservation(Base):
    """Bytes that a process may write; void once its lease has expired, as after the process was killed.

    Not `Owned`: the watermark of the disk counts the bytes of all owners.
    """

    __tablename__ = "reservation"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)  # rsv_<uuid7>
    owner: Mapped[str | None] = mapped_column(String(64), index=True)  # null: the operator, who has no quota
    size: Mapped[int] = mapped_column(BigInteger)  # bytes that count against the owner's quota
    file: Mapped[str] = mapped_column(String(100))  # its name in the folder for incoming files
    grows_to: Mapped[int] = mapped_column(BigInteger)  # bytes that this file may reach
    holder: Mapped[str] = mapped_column(String(40), index=True)  # the writing process
    lease_until: Mapped[datetime] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())
