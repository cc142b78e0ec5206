"""The moves of a message: each one is a conditional UPDATE, as a job's, so that any number of senders may run.

A sender that is killed leaves a lease that runs out; another sends the message again, with the same id.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from api.db import after_seconds, now
from api.webhooks.client import GONE, Answer
from api.webhooks.events import TEST
from api.webhooks.tables import Delivery, DeliveryAttempt, DeliveryStatus, Webhook

LEASE_SECONDS = 120.0  # a name may take a while to resolve
MOST_ATTEMPTS = 12  # with the pauses below, about a day
LONGEST_PAUSE = 6 * 3600.0  # seconds


@dataclass(frozen=True)
class Due:
    """A message that one sender holds."""

    id: str
    webhook_id: str
    attempt: int
    event: str
    body: str
    url: str
    secrets: Sequence[str]


def claim(session: Session) -> Due | None:
    """Take the message that waits longest, one at a time of each webhook; None when nothing is due."""
    candidate, busy, hook = aliased(Delivery), aliased(Delivery), aliased(Webhook)
    others = select(busy.id).where(busy.webhook_id == candidate.webhook_id, busy.lease_until > now())
    oldest = (
        select(candidate.id)
        .join(hook, hook.id == candidate.webhook_id)
        .where(
            candidate.status == DeliveryStatus.WAITING,
            candidate.next_attempt_at <= now(),
            or_(hook.disabled_at.is_(None), candidate.event == TEST),
            ~others.exists(),  # a slow receiver keeps one sender busy, not all
        )
        .order_by(candidate.next_attempt_at, candidate.id)
        .limit(1)
    )
    if session.scalar(oldest) is None:
        return None  # without a write: that would keep others from theirs on SQLite
    locked = oldest.with_for_update(skip_locked=True, of=candidate)  # PostgreSQL; SQLite has one writer at a time
    free = or_(Delivery.lease_until.is_(None), Delivery.lease_until <= now())
    row = session.execute(
        update(Delivery)
        .where(Delivery.id == locked.scalar_subquery(), Delivery.status == DeliveryStatus.WAITING, free)
        .values(attempts=Delivery.attempts + 1, lease_until=after_seconds(LEASE_SECONDS))
        .returning(Delivery.id, Delivery.webhook_id, Delivery.attempts, Delivery.event, Delivery.body),
        execution_options={"synchronize_session": False},
    ).one_or_none()
    if row is None:
        return None
    webhook = session.get_one(Webhook, row.webhook_id)
    return Due(*row, webhook.url, valid(webhook.secrets))


def settle(session: Session, due: Due, answer: Answer, seconds: float, retry_seconds: float, most_days: float) -> None:
    """Note what came of an attempt: the message is delivered, waits for another one, or has failed.

    Args:
        session: the caller's transaction.
        due: the message.
        answer: what came of it.
        seconds: how long it took.
        retry_seconds: the first pause; each one after is three times as long.
        most_days: for how long a webhook may fail before it is disabled.
    """
    again = answer.again and due.attempt < MOST_ATTEMPTS and due.event != TEST
    ended = DeliveryStatus.DELIVERED if answer.taken else DeliveryStatus.FAILED
    values: dict[str, Any] = {"status": ended, "finished_at": now()}
    if again:
        values = {"next_attempt_at": after_seconds(pause(due.attempt, retry_seconds))}
    mine = (Delivery.id == due.id, Delivery.attempts == due.attempt, Delivery.status == DeliveryStatus.WAITING)
    written = update(Delivery).where(*mine).values(lease_until=None, **values).returning(Delivery.id)
    if session.execute(written, execution_options={"synchronize_session": False}).one_or_none() is None:
        return  # the lease ran out and another sender has it, or it is gone
    row = DeliveryAttempt(delivery_id=due.id, number=due.attempt, seconds=round(seconds, 3))
    row.status_code, row.error = answer.status_code, answer.error
    session.add(row)
    _judge(session, due, answer, most_days)


def pause(attempt: int, first: float) -> float:
    """Give the seconds until the next attempt: three times as long each time, less a random part of up to a half."""
    return float(min(first * 3 ** (attempt - 1), LONGEST_PAUSE) * random.uniform(0.5, 1.0))


def disable(session: Session, webhook_id: str, reason: str) -> None:
    """Tell a webhook nothing more; what waits for it has failed."""
    values = {"disabled_at": now(), "disabled_reason": reason[:300]}
    session.execute(update(Webhook).where(Webhook.id == webhook_id, Webhook.disabled_at.is_(None)).values(values))
    waiting = (Delivery.webhook_id == webhook_id, Delivery.status == DeliveryStatus.WAITING, Delivery.event != TEST)
    failed = {"status": DeliveryStatus.FAILED, "finished_at": now(), "lease_until": None}
    session.execute(update(Delivery).where(*waiting).values(failed))


def valid(secrets: Sequence[dict[str, Any]]) -> list[str]:
    """Give the secrets that still sign, newest first."""
    moment = datetime.now(UTC).isoformat()
    return [entry["secret"] for entry in secrets if entry["until"] is None or entry["until"] > moment]


def purge(session: Session, days: float) -> None:
    """Forget messages that ended so many days ago, with their attempts."""
    session.execute(delete(Delivery).where(Delivery.finished_at < after_seconds(-days * 86_400)))


def _judge(session: Session, due: Due, answer: Answer, most_days: float) -> None:
    """Keep the webhook's record: a success clears it; one that has failed for days is disabled."""
    webhook = update(Webhook).where(Webhook.id == due.webhook_id)
    if answer.taken:
        session.execute(webhook.values(failing_since=None))
    elif answer.status_code == GONE:
        disable(session, due.webhook_id, "the receiver answered 410 Gone")
    elif due.event != TEST:
        session.execute(webhook.values(failing_since=func.coalesce(Webhook.failing_since, now())))
        too_long = Webhook.failing_since < after_seconds(-most_days * 86_400)
        if session.scalar(select(Webhook.id).where(Webhook.id == due.webhook_id, too_long)):
            disable(session, due.webhook_id, f"nothing was delivered for {most_days:g} days")
