"""API keys. Functions take the caller's session and never commit."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import case, exists, or_, select, update
from sqlalchemy.orm import Session

from api.access.keys_schemas import KeyRequest
from api.caller import Caller, Scope
from api.db import after_seconds, new_id, now, seconds_between
from api.errors import Invalid
from api.pagination import get_or_404, page
from api.tables.keys import ApiKey
from rdrkd.errors import Problem

_FORM = re.compile(r"rdr_([0-9a-f]{32})_([0-9a-f]{64})")  # the id without its prefix, and the secret
USE_SECONDS = 60.0  # precision of `last_used_at`
_LONG_AGO = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < after_seconds(-USE_SECONDS))


@dataclass(frozen=True)
class Known:
    """A key's fields that the guard needs."""

    caller: Caller
    sha256: str
    state: Literal["valid", "expired", "revoked"]
    unnoted: bool = False  # whether `last_used_at` needs an update
    seconds_left: float | None = None  # until it expires, when it was read; none: it never does


def create(session: Session, request: KeyRequest) -> tuple[ApiKey, str]:
    """Create a key; return its row and the key itself, which cannot be read again.

    Raises:
        Invalid: it would have expired already.
    """
    secret = secrets.token_hex(32)
    row = ApiKey(id=new_id("key"), sha256=digest(secret), **request.model_dump())
    session.add(row)
    session.flush()
    if session.scalar(select(ApiKey.id).where(ApiKey.id == row.id, ApiKey.expires_at <= now())):
        raise Invalid.at(Problem("/expires_at", f"expected a time in the future, got {request.expires_at}"))
    session.refresh(row)
    return row, f"rdr_{row.id.removeprefix('key_')}_{secret}"


def check_first(session: Session, request: KeyRequest, others: bool) -> None:
    """Reject a first key that is not an admin key: any key locks out callers without one.

    Args:
        session: the caller's transaction.
        request: the key to create.
        others: whether the operator also has a token.

    Raises:
        Invalid: it is not an admin key, and no valid admin key exists.
    """
    if others or request.scope == Scope.ADMIN:
        return
    usable = (ApiKey.scope == Scope.ADMIN, ApiKey.revoked_at.is_(None))
    valid = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now())
    if not session.scalar(select(exists().where(*usable, valid))):
        detail = (
            f"expected an admin key first, got one of the scope {request.scope}: once there is a key, nobody comes in "
            "without one, so nobody could make or revoke keys, or see what was made before"
        )
        raise Invalid.at(Problem("/scope", detail))


def newest(session: Session, limit: int, after: str | None) -> tuple[Sequence[ApiKey], str | None]:
    """Read one page of keys, newest first, and the next cursor."""
    return page(session, select(ApiKey), ApiKey.id, limit, after)


def get(session: Session, key_id: str) -> ApiKey:
    """Read one key; raises `NotFound`."""
    return get_or_404(session, ApiKey, key_id)


def revoke(session: Session, key_id: str) -> ApiKey:
    """Revoke a key; revoking it again changes nothing. Raises `NotFound`."""
    get(session, key_id)
    session.execute(update(ApiKey).where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None)).values(revoked_at=now()))
    return get_or_404(session, ApiKey, key_id, populate_existing=True)


def any_key(session: Session) -> bool:
    """Return whether there has ever been a key."""
    return bool(session.scalar(select(exists().select_from(ApiKey))))


def parts(token: str) -> tuple[str, str] | None:
    """Split a key into its id and the hash of its secret; return None if it is malformed."""
    found = _FORM.fullmatch(token)
    return (f"key_{found[1]}", digest(found[2])) if found else None


def digest(secret: str) -> str:
    """Return the hash of a secret, as it is stored."""
    return hashlib.sha256(secret.encode()).hexdigest()


def same(known: Known | None, sha256: str) -> bool:
    """Compare a secret's hash with a key's, in constant time even if the key does not exist."""
    return hmac.compare_digest(known.sha256 if known is not None else "0" * 64, sha256)


def look_up(session: Session, key_id: str) -> Known | None:
    """Read a key's fields that the guard needs."""
    expired = ApiKey.expires_at <= now()
    state = case((ApiKey.revoked_at.is_not(None), "revoked"), (expired, "expired"), else_="valid")
    wanted = select(ApiKey, state, _LONG_AGO, seconds_between(now(), ApiKey.expires_at))
    row = session.execute(wanted.where(ApiKey.id == key_id)).one_or_none()
    if row is None:
        return None
    key: ApiKey = row[0]
    return Known(Caller(key.id, key.owner, Scope(key.scope)), key.sha256, row[1], bool(row[2]), row[3])


def note_use(session: Session, key_id: str) -> None:
    """Update `last_used_at`; if several processes try at once, only one does."""
    session.execute(update(ApiKey).where(ApiKey.id == key_id, _LONG_AGO).values(last_used_at=now()))
