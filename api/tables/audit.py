"""Rows of the audit log."""

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from api.db import Base, UtcDateTime, now


class Audit(Base):
    """One entry of the audit log. It has no foreign keys, as the objects that it names may have been deleted."""

    __tablename__ = "audit"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)  # aud_<uuid7>: sorts by time
    at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now(), index=True)
    key: Mapped[str] = mapped_column(String(40))  # id of the key; `token`, `loopback` or `command`: the operator
    owner: Mapped[str | None] = mapped_column(String(64))  # owner of the key
    action: Mapped[str] = mapped_column(String(60))  # operation_id of the endpoint
    object: Mapped[str | None] = mapped_column(String(110))  # id of the changed or created object
    request_id: Mapped[str | None] = mapped_column(String(40))  # null: at the command line
