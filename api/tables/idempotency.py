"""Rows of idempotency keys."""

from datetime import datetime
from typing import Any

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from api.db import Base, UtcDateTime, now


class IdempotencyKey(Base):
    """A request's idempotency key: claimed while the request is processed, then stored with its response."""

    __tablename__ = "idempotency_key"

    caller: Mapped[str] = mapped_column(String(40), primary_key=True)  # id of the API key, or how the operator came
    key: Mapped[str] = mapped_column(String(255), primary_key=True)  # as the client chose it
    fingerprint: Mapped[str] = mapped_column(String(64))  # hex sha256 of the request
    claim: Mapped[str] = mapped_column(String(32))  # the fencing token of the claim
    claimed_until: Mapped[datetime] = mapped_column(UtcDateTime)  # then another request may claim it, if unanswered
    status: Mapped[int | None]  # of the response; null: there is none yet
    headers: Mapped[dict[str, Any] | None]
    body: Mapped[str | None] = mapped_column(Text)  # JSON
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now(), index=True)
