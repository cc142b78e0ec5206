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

    WAITING = "waiting"  # it is to be sent, for the first time or again
    DELIVERED = "delivered"  # the receiver has answered 2xx
    FAILED = "failed"  # refused for good, tried too often, or its webhook was disabled


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
    """A message to one webhook: claimed with a lease, sent until it is taken."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (Index("ix_webhook_delivery_due", "webhook_id", "status", "next_attempt_at"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)  # msg_<uuid7>: the receiver knows a repetition by it
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhook.id", ondelete="CASCADE"))
    event: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str | None] = mapped_column(String(40), index=True)  # id of the job, study or webhook it is about
    body: Mapped[str] = mapped_column(Text)  # as it is signed and sent, byte for byte
    status: Mapped[DeliveryStatus] = mapped_column(String(20), default=DeliveryStatus.WAITING)
    attempts: Mapped[int] = mapped_column(default=0)  # begun; also the fencing token
    next_attempt_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)  # null: nobody is sending it
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class DeliveryAttempt(Base):
    """One attempt to send a message, and what came of it."""

    __tablename__ = "webhook_attempt"

    delivery_id: Mapped[str] = mapped_column(ForeignKey("webhook_delivery.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())  # when it ended
    seconds: Mapped[float]
    status_code: Mapped[int | None]  # null: there was no answer
    error: Mapped[str | None] = mapped_column(String(300))
