"""Transitions of a message: conditional UPDATEs, like a job's, so that any number of senders may run.

A killed sender leaves a lease that expires; another sender then repeats the message, with the same id.
"""

import random
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, func, or_, select, true, tuple_, update
from sqlalchemy.orm import Session, aliased

from api.db import after_seconds, now
from api.jobs.events.webhook_messages import TEST
from api.tables.webhooks import Delivery, DeliveryAttempt, DeliveryStatus, Webhook
from api.webhooks.client import GONE, SECONDS, Answer

LEASE_SECONDS = SECONDS + 5  # an attempt, and recording its outcome
MOST_ATTEMPTS = 12  # with the delays below, about a day
LONGEST_PAUSE = 6 * 3600.0  # seconds
SLOTS = 128  # concurrent attempts of one process
OF_OWNER = 16  # limit of concurrent attempts for the webhooks of one owner
FAILING = SLOTS // 2  # limit of concurrent attempts for webhooks whose last attempt failed


@dataclass(frozen=True)
class Due:
    """A message that a sender has claimed."""

    id: str
    webhook_id: str
    attempt: int
    event: str
    body: str
    owner: str | None
    failing: bool
    url: str
    secrets: Sequence[str]


@dataclass(frozen=True)
class Candidate:
    """A webhook with a due message."""

    id: str
    owner: str | None
    failing: bool


def claim(session: Session, under_way: Collection[Due] = ()) -> list[Due]:
    """Claim due messages, one per webhook, as many as the limits allow beside the attempts in progress."""
    due = _due(session)
    if not due:
        return []  # without a write, which would block other writers on SQLite
    chosen = choose(due, [Candidate(each.webhook_id, each.owner, each.failing) for each in under_way])
    # The lock: two senders must not take two messages of the same webhook.
    locked = select(Webhook).where(Webhook.id.in_([each.id for each in chosen]))
    hooks = {hook.id: hook for hook in session.scalars(locked.with_for_update(key_share=True, skip_locked=True))}
    taken = (_take(session, hooks[each.id]) for each in chosen if each.id in hooks)
    return [each for each in taken if each is not None]


def choose(due: Sequence[Candidate], under_way: Sequence[Candidate]) -> list[Candidate]:
    """Choose fairly: the owner with the fewest attempts in progress goes first, and failing webhooks go last.

    >>> alice = [Candidate(f"a{n}", "alice", failing=True) for n in range(100)]
    >>> [each.id for each in choose([*alice, Candidate("b", "bob", failing=False)], [])][:3]
    ['b', 'a0', 'a1']
    >>> len(choose(alice, [])) == OF_OWNER
    True
    """
    of_owner = Counter(each.owner for each in under_way)
    failing = sum(each.failing for each in under_way)
    ranked: list[tuple[bool, int, Candidate]] = []
    for each in sorted(due, key=lambda each: each.failing):
        ranked.append((each.failing, of_owner[each.owner], each))
        of_owner[each.owner] += 1
    chosen: list[Candidate] = []
    for fails, before, each in sorted(ranked, key=lambda rank: rank[:2]):
        if len(under_way) + len(chosen) < SLOTS and before < OF_OWNER and not (fails and failing >= FAILING):
            chosen.append(each)
            failing += fails
    return chosen


def settle(session: Session, due: Due, answer: Answer, seconds: float, retry_seconds: float, most_days: float) -> None:
    """Record the outcome of an attempt: the message is delivered, will be retried, or has failed.

    Args:
        session: the caller's transaction.
        due: the message.
        answer: the outcome.
        seconds: how long it took.
        retry_seconds: the first delay; each further one is three times as long.
        most_days: for how long a webhook may fail before it is disabled.
    """
    # Lock first the webhook, then its messages, as transactions that disable or delete it do.
    session.execute(select(Webhook.id).where(Webhook.id == due.webhook_id).with_for_update(key_share=True))
    again = answer.again and due.attempt < MOST_ATTEMPTS and due.event != TEST
    ended = DeliveryStatus.DELIVERED if answer.taken else DeliveryStatus.FAILED
    values: dict[str, Any] = {"status": ended, "finished_at": now()}
    if again:
        values = {"next_attempt_at": after_seconds(pause(due.attempt, retry_seconds))}
    mine = (Delivery.id == due.id, Delivery.attempts == due.attempt, Delivery.status == DeliveryStatus.WAITING)
    written = update(Delivery).where(*mine).values(lease_until=None, **values).returning(Delivery.id)
    if session.execute(written, execution_options={"synchronize_session": False}).one_or_none() is None:
        return  # the lease has expired and another sender holds it, or it was deleted
    row = DeliveryAttempt(delivery_id=due.id, number=due.attempt, seconds=round(seconds, 3))
    row.status_code, row.error = answer.status_code, answer.error
    session.add(row)
    _judge(session, due, answer, most_days)


def pause(attempt: int, first: float) -> float:
    """Return the delay before the next attempt, in seconds: tripled each time, minus a random part of up to half."""
    return longest_pause(attempt, first) * random.uniform(0.5, 1.0)


def longest_pause(attempt: int, first: float) -> float:
    """Return the longest delay before the next attempt, in seconds."""
    return float(min(first * 3 ** (attempt - 1), LONGEST_PAUSE))


def disable(session: Session, webhook_id: str, reason: str) -> None:
    """Disable a webhook and mark its waiting messages as failed."""
    values = {"disabled_at": now(), "disabled_reason": reason[:300]}
    session.execute(update(Webhook).where(Webhook.id == webhook_id, Webhook.disabled_at.is_(None)).values(values))
    waiting = (Delivery.webhook_id == webhook_id, Delivery.status == DeliveryStatus.WAITING, Delivery.event != TEST)
    failed = {"status": DeliveryStatus.FAILED, "finished_at": now(), "lease_until": None}
    session.execute(update(Delivery).where(*waiting).values(failed))


def valid(secrets: Sequence[dict[str, Any]]) -> list[str]:
    """Return the secrets that still sign, newest first."""
    moment = datetime.now(UTC).isoformat()
    return [entry["secret"] for entry in secrets if entry["until"] is None or entry["until"] > moment]


def purge(session: Session, days: float) -> None:
    """Delete messages that ended this many days ago, with their attempts."""
    session.execute(delete(Delivery).where(Delivery.finished_at < after_seconds(-days * 86_400)))


def _due(session: Session) -> list[Candidate]:
    """Return the webhooks with a due message, longest waiting first."""
    return [Candidate(*row) for row in session.execute(_due_query())]


@cache
def _due_query() -> Select[str, str | None, bool]:
    """Build the query once: senders run it every two seconds, and building it costs more than running it."""
    message = aliased(Delivery)
    of_hook = (message.webhook_id == Webhook.id, message.status == DeliveryStatus.WAITING)
    heard = or_(Webhook.disabled_at.is_(None), message.event == TEST)
    waits = select(func.min(message.next_attempt_at)).where(*of_hook, heard).scalar_subquery()
    columns = (Webhook.id, Webhook.owner, Webhook.failing_since.is_not(None))
    return select(*columns).where(waits <= now(), ~_held(Webhook.id)).order_by(waits, Webhook.id)


def _held(webhook_id: Any) -> ColumnElement[bool]:
    busy = aliased(Delivery)
    of_hook = (busy.webhook_id == webhook_id, busy.status == DeliveryStatus.WAITING)
    return select(busy.id).where(*of_hook, busy.lease_until > now()).exists()


def _take(session: Session, hook: Webhook) -> Due | None:
    message, before = aliased(Delivery), aliased(Delivery)
    earlier = select(before.id).where(
        before.webhook_id == hook.id,
        before.subject == message.subject,
        before.status == DeliveryStatus.WAITING,
        tuple_(before.created_at, before.id) < tuple_(message.created_at, message.id),
    )
    oldest = (
        select(message.id)
        .where(
            message.webhook_id == hook.id,
            message.status == DeliveryStatus.WAITING,
            message.next_attempt_at <= now(),
            true() if hook.disabled_at is None else message.event == TEST,
            ~earlier.exists(),  # messages about one object arrive in order; a failing one delays no other object's
            ~_held(hook.id),
        )
        .order_by(message.created_at, message.id)
        .limit(1)
        .scalar_subquery()
    )
    row = session.execute(
        update(Delivery)
        .where(Delivery.id == oldest, Delivery.status == DeliveryStatus.WAITING)
        .values(attempts=Delivery.attempts + 1, lease_until=after_seconds(LEASE_SECONDS))
        .returning(Delivery.id, Delivery.webhook_id, Delivery.attempts, Delivery.event, Delivery.body),
        execution_options={"synchronize_session": False},
    ).one_or_none()
    if row is None:
        return None
    return Due(*row, hook.owner, hook.failing_since is not None, hook.url, valid(hook.secrets))


def _judge(session: Session, due: Due, answer: Answer, most_days: float) -> None:
    """Update the webhook's failure record: a success clears it, and days of failure disable the webhook."""
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
