"""The API's operations on resumable uploads. Functions take the request's session and never commit."""

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from api.access import quotas
from api.db import Database, after_seconds, new_id, now
from api.errors import NotFound
from api.ownership import owner_of
from api.pagination import get_or_404, is_id
from api.storage import ABANDONED_SECONDS, Storage, Stored
from api.storage.partial_uploads import Partial
from api.tables.datasets import Dataset
from api.tables.models import Model
from api.tables.resumable import ResumableUpload
from api.uploads.datasets import service as datasets
from api.uploads.datasets.reading import Words
from api.uploads.models import service as models
from api.uploads.resumable.announcement import Announcement

PATHS = {"dataset": "/v1/datasets", "model": "/v1/models"}
KEPT_SECONDS = 7 * 86_400.0  # how long an ended upload can still be queried


def announce(session: Session, file: Announcement, length: int) -> ResumableUpload:
    """Register an announced file.

    Raises:
        QuotaExceeded: the owner's storage quota is exceeded.
    """
    row = ResumableUpload(id=new_id("upl"), length=length, owner=owner_of(session), **file.model_dump())
    row.expires_at = after_seconds(ABANDONED_SECONDS)
    session.add(row)
    session.flush()
    quotas.check_storage(session, row.owner)
    session.refresh(row)
    return row


def count(session: Session, upload_id: str) -> bool:
    """Extend an active upload's quota reservation by a day; return whether it was still valid."""
    row = update(ResumableUpload).where(ResumableUpload.id == upload_id, ResumableUpload.created.is_(None))
    row = row.values(expires_at=after_seconds(ABANDONED_SECONDS)).returning(ResumableUpload.id)
    if session.execute(row.where(ResumableUpload.expires_at > now())).first() is not None:
        return True
    session.execute(row)
    return False


def extend(session: Session, upload_id: str, owner: str | None) -> None:
    """Extend an upload's reservation by a day, even after it has expired if the owner's quota still allows it.

    Raises:
        QuotaExceeded: the quota does not allow it.
    """
    if not count(session, upload_id):
        quotas.check_storage(session, owner)


def stop_counting(database: Database, upload_id: str) -> None:
    """Stop counting an upload against its owner's quota."""
    with database.transaction() as session:
        row = update(ResumableUpload).where(ResumableUpload.id == upload_id)
        session.execute(row.values(expires_at=now()))


def check_id(upload_id: str) -> None:
    """Check that a text is a valid upload id, before it becomes part of a path.

    Raises:
        NotFound: it is not.
    """
    if not is_id(upload_id):
        raise NotFound("expected the id of an upload, but there is none with this id")


def get(session: Session, upload_id: str) -> ResumableUpload:
    """Read one upload.

    Raises:
        NotFound: there is none.
    """
    return get_or_404(session, ResumableUpload, upload_id)


def claim(session: Session, row: ResumableUpload) -> bool:
    """Claim the completion of an upload: one request gets True, others wait for its commit and get False."""
    first = update(ResumableUpload).where(ResumableUpload.id == row.id, ResumableUpload.created.is_(None))
    taken = session.execute(first.values(created="").returning(ResumableUpload.id)).one_or_none() is not None
    session.refresh(row)
    return taken


def create(session: Session, row: ResumableUpload, stored: Stored) -> Dataset | Model:
    """Register the complete file as the announced dataset or model; a worker will check it."""
    made: Dataset | Model
    if row.kind == "dataset":
        made = datasets.create(session, stored, row.filename, row.name, Words(row.lenient, row.keep, row.divide))
    else:
        made = models.create(session, stored, row.filename, row.name)
    row.created = made.id
    return made


def result_of(row: ResumableUpload) -> str | None:
    """Return the URL of the resulting dataset or model; None before completion."""
    return f"{PATHS[row.kind]}/{row.created}" if row.created else None


def forget(session: Session, storage: Storage) -> None:
    """Delete rows of uploads that ended long ago, complete or abandoned."""
    for row in session.scalars(
        select(ResumableUpload).where(ResumableUpload.created_at < after_seconds(-KEPT_SECONDS))
    ):
        if row.created or Partial(storage, row.id).size() is None:
            session.delete(row)
