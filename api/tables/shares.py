"""Rows of shares: which dataset or model may be read and used by whom beside its owner."""

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from api.db import Base, UtcDateTime, now

EVERYONE = "*"  # no owner can be called so


class Share(Base):
    """A dataset or model that another owner, or everyone, may read and use in jobs, but not change."""

    __tablename__ = "share"

    reader: Mapped[str] = mapped_column(String(64), primary_key=True)  # an owner, or EVERYONE
    thing_id: Mapped[str] = mapped_column(String(40), primary_key=True, index=True)  # ds_... or mdl_...
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())
