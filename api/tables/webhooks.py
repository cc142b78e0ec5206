"""Rows of webhooks, their messages, and every attempt to deliver one."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from api.db import Base, UtcDateTime, now
from api.ownership import Owned


class DeliveryStatus(StrEnum):
    """Status of a message."""

    WAITING = "waiting"  # to be sent or retried
    DELIVERED = "delivered"  # the receiver has responded with 2xx
    FAILED = "failed"  # permanently refused, out of retries, or its webhook was disabled


class Webhook(Owned, Base):
    """A URL that receives its owner's events."""

    __tablename__ = "webhook"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)  # whk_<uuid7>: sorts by time
    name: Mapped[str | None] = mapped_column(String(200))
    url: Mapped[str] = mapped_column(String(2000))
    events: Mapped[list[Any]]  # names of events
    secrets: Mapped[list[Any]]  # [{secret, until}], newest first; encrypted (`api.webhooks.vault`)
    failing_since: Mapped[datetime | None] = mapped_column(UtcDateTime)  # first failure since the last success
    disabled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    disabled_reason: Mapped[str | None] = mapped_column(String(300))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())


class Delivery(Owned, Base):
    """A message to one webhook: claimed with a lease, and retried until it is accepted."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (Index("ix_webhook_delivery_due", "webhook_id", "status", "next_attempt_at"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)  # msg_<uuid7>: identifies repetitions
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhook.id", ondelete="CASCADE"))
    event: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str | None] = mapped_column(String(40), index=True)  # id of its job, study or webhook
    body: Mapped[str] = mapped_column(Text)  # exactly as signed and sent
    status: Mapped[DeliveryStatus] = mapped_column(String(20), default=DeliveryStatus.WAITING)
    attempts: Mapped[int] = mapped_column(default=0)  # attempts started; also the fencing token
    next_attempt_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)  # null: not being sent
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class DeliveryAttempt(Base):
    """One attempt to send a message, and its outcome."""

    __tablename__ = "webhook_attempt"

    delivery_id: Mapped[str] = mapped_column(ForeignKey("webhook_delivery.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())  # when it ended
    seconds: Mapped[float]
    status_code: Mapped[int | None]  # null: there was no response
    error: Mapped[str | None] = mapped_column(String(300))
