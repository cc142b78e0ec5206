"""Rows of shares: who else may read and use a dataset or model."""

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from api.db import Base, UtcDateTime, now

EVERYONE = "*"  # no owner can have this name


class Share(Base):
    """Lets another owner, or everyone, read a dataset or model and use it in jobs, but not change it."""

    __tablename__ = "share"

    reader: Mapped[str] = mapped_column(String(64), primary_key=True)  # an owner, or EVERYONE
    thing_id: Mapped[str] = mapped_column(String(40), primary_key=True, index=True)  # ds_... or mdl_...
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())
