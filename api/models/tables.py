"""Rows of uploaded models."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from api.db import Base, UtcDateTime, now
from api.leases import Leased
from api.uploads import UploadStatus


class Model(Leased, Base):
    """An uploaded model: `checking` until a worker has inspected it, then `ready` or `invalid`."""

    __tablename__ = "model"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)  # mdl_<uuid7>: sorts by time
    name: Mapped[str | None] = mapped_column(String(200))
    filename: Mapped[str] = mapped_column(String(300))  # as the client called it; never a path on this machine
    status: Mapped[UploadStatus] = mapped_column(String(20), default=UploadStatus.CHECKING, index=True)
    key: Mapped[str] = mapped_column(String(300))  # where in the storage
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    size: Mapped[int] = mapped_column(BigInteger)
    problems: Mapped[list[Any]] = mapped_column(JSON, default=list)  # [{where, detail}] when invalid
    report: Mapped[dict[str, Any] | None]  # what the inspection found
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())
    checked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
