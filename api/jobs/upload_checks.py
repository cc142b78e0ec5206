"""Checks of uploaded datasets and models, from `checking` to `ready` or `invalid`, under leases like those of jobs.

A dataset from a folder or bucket is first copied, under a separate lease.

As in `api.jobs.lifecycle`, each transition is a conditional UPDATE fenced by the attempt, and no function commits.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from api.access import quotas
from api.db import after_seconds, now, seconds_between
from api.jobs import unblocking
from api.storage import Stored
from api.tables.datasets import Dataset
from api.tables.leases import Fenced
from api.tables.models import Model, ModelFile
from api.tables.uploads import UploadStatus
from api.uploads.datasets import versions
from api.uploads.datasets.album import Album
from api.uploads.datasets.reading import AS_IT_IS, Words

Table = type[Dataset] | type[Model]
UPLOADS: tuple[Table, ...] = (Dataset, Model)
Problems = list[dict[str, str]]  # {where, detail}


@dataclass(frozen=True)
class Claimed:
    """A row that an attempt of a worker holds."""

    table: Table
    id: str
    attempt: int


@dataclass(frozen=True)
class Check(Claimed):
    """An upload to check."""

    key: str  # its key in the storage
    sha256: str  # of the stored file, hex
    size: int  # bytes
    filename: str  # as sent by the client
    words: Words = AS_IT_IS  # options for reading it, if it is a dataset


@dataclass(frozen=True)
class Import(Claimed):
    """A dataset to copy from its source, and then to check like an upload."""

    source: str
    waited_seconds: float  # since the request


def claim(session: Session, worker: str, lease_seconds: float) -> Check | Import | None:
    """Claim an upload to check, otherwise a dataset to import, or return None; owners take turns (`_turns`).

    Checks go first, so that an unreachable bucket does not delay them.
    """
    quotas.one_at_a_time(session, quotas.CHECKS)  # otherwise two workers would serve the same owner at once
    for owner, table in _turns(session, UPLOADS, lambda of: of.key.is_not(None)):
        how = (table.lenient, table.keep, table.divide) if table is Dataset else ()
        which = (lambda of: of.key.is_not(None), owner, "created_at")
        columns = (table.key, table.sha256, table.size, table.filename)
        if row := _take(session, table, worker, lease_seconds, *which, *columns, *how):
            row_id, attempt, key, sha256, size, filename, *words = row
            return Check(table, row_id, attempt, key, sha256, size, filename, Words(*words))
    waited = seconds_between(Dataset.created_at, now())
    for owner, table in _turns(session, (Dataset,), lambda of: of.key.is_(None)):
        which = (lambda of: of.key.is_(None), owner, "rung_at")
        if row := _take(session, table, worker, lease_seconds, *which, Dataset.source, waited):
            return Import(table, *row)
    return None


def _turns(
    session: Session, tables: Sequence[Table], which: Callable[[Any], ColumnElement[bool]]
) -> list[tuple[str | None, Table]]:
    """Return the owners with work, in the order of their turns, with the table of their oldest row.

    The owner with the fewest running checks and imports goes first, then the one who was served least recently, then
    the one with the oldest row. So an owner with a thousand uploads delays another owner by one of them at most.
    """
    oldest: dict[str | None, tuple[datetime, Table]] = {}
    for table in tables:
        free = (table.status == UploadStatus.CHECKING, table.lease_until.is_(None), which(table))
        for owner, since in session.execute(
            select(table.owner, func.min(table.created_at)).where(*free).group_by(table.owner)
        ):
            oldest[owner] = min(oldest.get(owner, (since, table)), (since, table), key=lambda pair: pair[0])
    if len(oldest) > 1:
        running, served = _running(session), _served(session, oldest)
        never = datetime.min.replace(tzinfo=UTC)
        owners = sorted(oldest, key=lambda one: (running[one], served.get(one, never), oldest[one][0]))
    else:
        owners = list(oldest)
    return [(owner, oldest[owner][1]) for owner in owners]


def _running(session: Session) -> Counter[str | None]:
    """Count the uploads that are being processed, by owner."""
    found = Counter[str | None]()
    for table in UPLOADS:
        held = (table.status == UploadStatus.CHECKING, table.lease_until.is_not(None))
        for owner, number in session.execute(select(table.owner, func.count()).where(*held).group_by(table.owner)):
            found[owner] += number
    return found


def _served(session: Session, owners: Collection[str | None]) -> dict[str | None, datetime]:
    """Return when the last check of each of these owners ended."""
    found: dict[str | None, datetime] = {}
    for table in UPLOADS:
        mine = or_(table.owner.in_([owner for owner in owners if owner is not None]), table.owner.is_(None))
        ended = select(table.owner, func.max(table.checked_at)).where(mine, table.checked_at.is_not(None))
        for owner, at in session.execute(ended.group_by(table.owner)):
            if at is not None:
                found[owner] = max(at, found.get(owner, at))
    return found


def _take(
    session: Session,
    table: Table,
    worker: str,
    lease_seconds: float,
    which: Callable[[Any], ColumnElement[bool]],
    owner: str | None,
    order: str,
    *columns: Any,
) -> Sequence[Any] | None:
    """Lease an owner's first unprocessed row of a table; return its id, attempt and some columns."""
    candidate = aliased(table)
    first = (
        select(candidate.id)
        .where(
            candidate.status == UploadStatus.CHECKING,
            candidate.lease_until.is_(None),
            candidate.owner.is_not_distinct_from(owner),
            which(candidate),
        )
        .order_by(getattr(candidate, order), candidate.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=candidate)  # PostgreSQL; SQLite has one writer at a time
        .scalar_subquery()
    )
    return session.execute(
        update(table)
        .where(table.id == first, table.lease_until.is_(None))
        .values(attempt=table.attempt + 1, worker=worker, lease_until=after_seconds(lease_seconds))
        .returning(table.id, table.attempt, *columns)
    ).one_or_none()


def renew(session: Session, check: Claimed, lease_seconds: float | None) -> None:
    """Renew the lease with this length, or only check it if the length is None.

    Raises:
        Fenced: another attempt holds the check.
    """
    if lease_seconds is not None:
        _write(session, check, lease_until=after_seconds(lease_seconds))


def arrived(session: Session, claimed: Import, stored: Stored) -> None:
    """Record that an import has been stored: it is now an upload, which a worker has to check.

    Raises:
        QuotaExceeded: the owner's storage quota is exceeded.
        Fenced: another attempt holds it.
    """
    row = session.get(Dataset, claimed.id)
    if row is None:
        raise Fenced(claimed.id)
    same = versions.same_content(session, row, stored.sha256)
    there = {"key": stored.key, "sha256": stored.sha256, "size": stored.size, "same_content_as": same}
    _write(session, claimed, **there, lease_until=None, rung_at=now())
    quotas.check_storage(session, row.owner)


def settle(
    session: Session,
    check: Claimed,
    report: dict[str, Any] | None,
    problems: Problems,
    *,
    preview: Stored | None = None,
    album: Album | None = None,
    written: Stored | None = None,
) -> UploadStatus:
    """End the check: `ready` without problems, else `invalid`.

    Args:
        session: the caller's transaction.
        check: the upload that was checked.
        report: the inspection's report.
        problems: problems with the upload; if there are none, it is ready.
        preview: the picture of a dataset.
        album: the images of a dataset for browsing; only with a preview.
        written: the file of a model in the other format.
    """
    status = UploadStatus.INVALID if problems else UploadStatus.READY
    if written is not None:
        form = written.key.rpartition(".")[2]
        file = ModelFile(model_id=check.id, format=form, key=written.key, sha256=written.sha256, size=written.size)
        session.merge(file)
        session.flush()
    picture: dict[str, Any] = (
        {"preview_key": preview.key, "preview_sha256": preview.sha256, "preview_size": preview.size} if preview else {}
    )
    if album is not None and preview is not None:
        picture |= {"preview_size": preview.size + album.stored.size, "album_size": album.stored.size}
        picture |= {"album_key": album.stored.key, "album": album.index.model_dump(mode="json")}
    found = {"status": status, "report": report, "problems": problems, **picture}
    _write(session, check, **found, lease_until=None, checked_at=now())
    unblocking.changed(session, check.id)
    return status


def wanted(session: Session, check: Check) -> bool:
    """Return whether an upload that is not invalid has the same content; such uploads share one file."""
    for table in UPLOADS:
        same = (table.key == check.key, table.status != UploadStatus.INVALID)
        if session.scalar(select(table.id).where(*same).limit(1)) is not None:
            return True
    return session.scalar(select(ModelFile.model_id).where(ModelFile.key == check.key).limit(1)) is not None


def give_back(session: Session, check: Claimed, *, later: bool = False) -> None:
    """Return the upload to the queue for another worker; with `later`, not at once."""
    _write(session, check, lease_until=None, rung_at=now() if later else None)


def expire(session: Session, max_lost_workers: int) -> None:
    """Release uploads whose lease has expired; one that has lost too many workers becomes invalid."""
    detail = f"the check lost its worker more than {max_lost_workers} times: this file seems to break the checker"
    for table in UPLOADS:
        expired = (table.status == UploadStatus.CHECKING, table.lease_until < now())
        lost = {"lease_until": None, "lost_workers": table.lost_workers + 1}
        hopeless = update(table).where(*expired, table.lost_workers >= max_lost_workers)
        problems = [{"where": "", "detail": detail}]
        invalid = hopeless.values(**lost, status=UploadStatus.INVALID, problems=problems, checked_at=now())
        for row_id in session.scalars(
            invalid.returning(table.id), execution_options={"synchronize_session": False}
        ).all():
            unblocking.note_if_waited_for(session, row_id)
        session.execute(update(table).where(*expired).values(**lost, rung_at=None))


def due_bells(session: Session, after: float) -> list[tuple[Table, str]]:
    """Return unchecked, unclaimed uploads for which no message was sent in the last `after` seconds."""
    due: list[tuple[Table, str]] = []
    for table in UPLOADS:
        silent = func.coalesce(table.rung_at, table.created_at) < after_seconds(-after)
        free = (table.status == UploadStatus.CHECKING, table.lease_until.is_(None))
        due += [(table, row_id) for row_id in session.scalars(select(table.id).where(*free, silent))]
    return due


def mark_rung(session: Session, table: Table, row_id: str) -> None:
    """Record that a wake-up message is being sent for the upload."""
    session.execute(update(table).where(table.id == row_id).values(rung_at=now()))


def _write(session: Session, check: Claimed, *where: ColumnElement[bool], **values: Any) -> None:
    table = check.table
    mine = (table.id == check.id, table.attempt == check.attempt, table.status == UploadStatus.CHECKING)
    statement = update(table).where(*mine, table.lease_until.is_not(None), *where).values(**values)
    if session.execute(statement.execution_options(synchronize_session=False)).rowcount == 0:  # type: ignore[attr-defined]
        raise Fenced(check.id)
