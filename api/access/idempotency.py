"""Idempotency keys. Functions take the caller's session and never commit.

A claim is a separate transaction, so that others see it; the response is stored in the request's transaction, so that
both commit or neither. A crash in between leaves a claim that expires by the database's clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy import ColumnElement, CursorResult, delete, update
from sqlalchemy.orm import Session

from api.db import after_seconds, now
from api.errors import KeyInFlight, KeyReused
from api.tables.idempotency import IdempotencyKey

CLAIM_SECONDS = 60.0  # longer than a request takes after its body has arrived
KEPT_SECONDS = 86_400.0


@dataclass(frozen=True)
class Claim:
    """A key that is claimed by this request."""

    key: str
    fingerprint: str
    token: str
    caller: str

    @classmethod
    def new(cls, key: str, fingerprint: str, caller: str) -> "Claim":
        """Create a claim that is not stored yet."""
        return cls(key, fingerprint, uuid4().hex, caller)


@dataclass(frozen=True)
class Answer:
    """The response to a request."""

    status: int
    headers: dict[str, str]
    body: str


def add(session: Session, claim: Claim) -> None:
    """Claim an unused key; a used one causes an `IntegrityError` at the flush."""
    row = IdempotencyKey(caller=claim.caller, key=claim.key, fingerprint=claim.fingerprint, claim=claim.token)
    row.claimed_until = after_seconds(CLAIM_SECONDS)
    session.add(row)
    session.flush()


def take_over(session: Session, claim: Claim) -> Answer | None:
    """Return the stored response of a key; None if its claim had expired and now belongs to this request.

    Raises:
        KeyReused: the key belongs to a different request.
        KeyInFlight: the request that it belongs to is in progress.
    """
    lapsed = (IdempotencyKey.status.is_(None), IdempotencyKey.claimed_until < now())
    values = {"fingerprint": claim.fingerprint, "claim": claim.token, "claimed_until": after_seconds(CLAIM_SECONDS)}
    if _changed(session, *_of(claim), *lapsed, values=values):
        return None
    row = session.get(IdempotencyKey, (claim.caller, claim.key))
    if row is not None and row.fingerprint != claim.fingerprint:
        raise KeyReused("expected a new Idempotency-Key, or the same request as before, got a different one")
    if row is None or row.status is None:  # None: it has just been released
        raise KeyInFlight("expected the first request with this key to have completed, but it is still in progress")
    return Answer(row.status, row.headers or {}, row.body or "")


def keep(session: Session, claim: Claim, answer: Answer) -> None:
    """Store the response.

    Raises:
        KeyInFlight: the claim expired, and another request holds it.
    """
    values = {"status": answer.status, "headers": answer.headers, "body": answer.body}
    if not _changed(session, *_own(claim), values=values):
        raise KeyInFlight("expected to complete before the claim on the Idempotency-Key expired, but it took longer")


def release(session: Session, claim: Claim) -> None:
    """Release a claim because the request was rejected or failed, so that the key can be used again."""
    session.execute(delete(IdempotencyKey).where(*_own(claim)))


def sweep(session: Session) -> int:
    """Delete keys that are older than a day; return how many."""
    old = IdempotencyKey.created_at < after_seconds(-KEPT_SECONDS)
    return _count(session.execute(delete(IdempotencyKey).where(old)))


def _of(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    return IdempotencyKey.caller == claim.caller, IdempotencyKey.key == claim.key


def _own(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    return (*_of(claim), IdempotencyKey.claim == claim.token, IdempotencyKey.status.is_(None))


def _changed(session: Session, *where: ColumnElement[bool], values: Mapping[str, object]) -> bool:
    statement = update(IdempotencyKey).where(*where).values(values).execution_options(synchronize_session=False)
    return _count(session.execute(statement)) > 0


def _count(result: object) -> int:
    assert isinstance(result, CursorResult)
    return result.rowcount
