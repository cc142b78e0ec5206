"""Rows of API keys."""

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from api.caller import Scope
from api.db import Base, UtcDateTime, now


class ApiKey(Base):
    """An API key. Only the hash of its secret is stored; revoked keys are kept, because the audit log names them."""

    __tablename__ = "api_key"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)  # key_<uuid7>: sorts by time
    name: Mapped[str] = mapped_column(String(200))
    owner: Mapped[str] = mapped_column(String(64), index=True)
    scope: Mapped[Scope] = mapped_column(String(20))
    sha256: Mapped[str] = mapped_column(String(64))  # hex, of the secret: 256 random bits need no slow hash
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # written at most once a minute
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
