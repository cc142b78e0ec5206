"""Quotas per owner. Objects of the operator (no owner) are not counted.

A request's session carries the quotas. They are checked after the rows are written and before the commit, one
transaction of an owner at a time, so that concurrent requests cannot exceed them together. Incoming bytes are also
rows (`api.uploads.ledger`), which count before the bytes are written.
"""

import zlib
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from api.db import now
from api.errors import QuotaExceeded
from api.settings import Settings
from api.tables import tallies
from api.tables.job_inputs import held
from api.tables.jobs import QUEUED, Job
from api.tables.ledger import Reservation
from api.tables.resumable import ResumableUpload
from api.tables.tallies import Tally

MOST_AT_ONCE = 1001  # jobs that one request may queue, for a study
COUNTED = (*tallies.BYTES, "announced", "reserved")
CLAIMS = 0x636C61696D  # "claim": the advisory lock of claims that check quotas, on PostgreSQL
CHECKS = 0x636865636B  # "check": the advisory lock of claims of upload checks


@dataclass(frozen=True)
class Quotas:
    """The quotas of one owner; 0: unlimited."""

    queued_jobs: int = 0
    running_jobs: int = 0
    storage_bytes: int = 0

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the quotas of the settings."""
        return cls(settings.quota_queued_jobs, settings.quota_running_jobs, settings.quota_storage_bytes)


NONE = Quotas()


def bind(session: Session, quotas: Quotas) -> None:
    """Make the session enforce quotas."""
    session.info["quotas"] = quotas


def quotas_of(session: Session) -> Quotas:
    """Return the quotas that the session enforces; sessions of workers and reaper enforce none."""
    quotas: Quotas = session.info.get("quotas", NONE)
    return quotas


def check_jobs(session: Session, owner: str | None) -> None:
    """Reject jobs that have just been queued if they are too many, or if their owner's storage is full.

    Raises:
        QuotaExceeded: a quota is exceeded.
    """
    most = quotas_of(session).queued_jobs
    if most and owner is not None:
        one_at_a_time(session, zlib.crc32(owner.encode()))
        queued = _count(session, owner, Job.status == QUEUED, most)
        if queued > most:
            raise QuotaExceeded(f"expected at most {most} queued jobs of {owner}, got {queued} including this request")
    check_storage(session, owner)


def check_storage(session: Session, owner: str | None, more: int = 0) -> None:
    """Reject a request if the owner's stored and reserved bytes, plus `more`, exceed the quota.

    Raises:
        QuotaExceeded: the quota is exceeded.
    """
    most = quotas_of(session).storage_bytes
    if most and owner is not None:
        one_at_a_time(session, zlib.crc32(owner.encode()))
        counted = sum(used_bytes(session, owner).values()) + more
        if counted > most:
            raise QuotaExceeded(
                f"expected at most {most} bytes stored and reserved of {owner}, got {counted} with this request's"
            )


def used_bytes(session: Session, owner: str | None) -> dict[str, int]:
    """Sum the bytes that count against an owner's quota, by kind; rows that share a file count each.

    `announced` are resumable uploads, which count with their full length from their announcement until they are
    complete, cancelled or abandoned; `reserved` is what requests and workers are writing.
    """
    stored = tallies.totals(session, Tally.owner == owner, Tally.what.in_(tallies.BYTES))
    sums = {what: select(total).where(*where, whose == owner) for what, (total, whose, *where) in _coming().items()}
    row = session.execute(select(*(query.scalar_subquery().label(what) for what, query in sums.items()))).one()
    coming = {what: int(size) for what, size in row._mapping.items()}
    return {what: stored[what].total if what in stored else coming.get(what, 0) for what in COUNTED}


def used_by_all(session: Session) -> dict[str | None, dict[str, int]]:
    """Sum these bytes for every owner with any; None is the operator."""
    found: dict[str | None, dict[str, int]] = {}
    for (owner, what), total in tallies.by_owner(session, Tally.what.in_(tallies.BYTES)).items():
        if total.number:
            found.setdefault(owner, dict.fromkeys(COUNTED, 0))[what] = total.total
    for what, (total, whose, *where) in _coming().items():
        for owner, size in session.execute(select(whose, total).where(*where).group_by(whose)):
            found.setdefault(owner, dict.fromkeys(COUNTED, 0))[what] = int(size)
    return found


def _coming() -> dict[str, tuple[Any, ...]]:
    """Return the kinds of bytes that count but are not stored yet, each with its sum, owner column and conditions."""
    active = (ResumableUpload.created.is_(None), ResumableUpload.expires_at > now())
    return {
        "announced": (_sum(ResumableUpload.length), ResumableUpload.owner, *active),
        "reserved": (_sum(Reservation.size), Reservation.owner, Reservation.lease_until > now()),
    }


def _sum(column: Any) -> ColumnElement[int]:
    return func.coalesce(func.sum(column), 0)


def running(session: Session, owner: str) -> int:
    """Count an owner's jobs that are held by workers."""
    return session.scalar(select(func.count()).where(Job.owner == owner, held(Job))) or 0


def set_aside(session: Session, most: int) -> list[str]:
    """Return the owners at their limit of running jobs, and serialise claims until the commit.

    Args:
        session: the caller's transaction.
        most: limit of running jobs per owner; 0: unlimited.
    """
    if not most:
        return []
    one_at_a_time(session, CLAIMS)
    running = select(Job.owner).where(held(Job), Job.owner.is_not(None)).group_by(Job.owner)
    return [owner for owner in session.scalars(running.having(func.count() >= most)) if owner]


def _count(session: Session, owner: str, condition: ColumnElement[bool], most: int) -> int:
    """Count an owner's jobs, but not far beyond `most`, so that the cost stays bounded."""
    some = select(Job.id).where(Job.owner == owner, condition).limit(most + MOST_AT_ONCE).subquery()
    return session.scalar(select(func.count()).select_from(some)) or 0


def one_at_a_time(session: Session, lock: int) -> None:
    """Wait for other transactions with this lock to end. SQLite has one writer at a time anyway."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(lock)))
