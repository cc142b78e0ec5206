"""Deletion of stored files together with the rows that refer to them: rows first, then every file.

A transaction that deletes rows also records their files. After its commit the files are removed, after a crash by the
reaper. Uploads are named by their content, so the same file may be uploaded again in that moment: registering and
removing a file take the same lock, and the second transaction sees the result of the first.
"""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime

from sqlalchemy import String, delete, func, insert, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Mapped, Session, mapped_column

from api.db import Base, Database, UtcDateTime, new_id, now
from api.errors import Unavailable
from api.storage import Storage, StorageUnreachable
from api.tables.datasets import Dataset
from api.tables.jobs import Artifact
from api.tables.models import Model, ModelFile

log = logging.getLogger(__name__)

NAMING = (
    Dataset.key,
    Dataset.preview_key,
    Dataset.album_key,
    Model.key,
    ModelFile.key,
    Artifact.key,
)  # the columns that refer to files


class Discard(Base):
    """A file to delete, which no row needs any more."""

    __tablename__ = "discard"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)  # dis_<uuid7>
    key: Mapped[str] = mapped_column(String(300))  # storage key
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())


def note(session: Session, keys: Iterable[str]) -> list[str]:
    """Record files whose rows are deleted in this transaction; return the ids of the records."""
    notes = [{"id": new_id("dis"), "key": key} for key in sorted(set(keys))]
    if notes:
        session.execute(insert(Discard), notes)
    return [each["id"] for each in notes]


def follow_all(database: Database, storage: Storage, note_ids: Iterable[str]) -> None:
    """Delete the files of these records."""
    for note_id in note_ids:
        follow(database, storage, note_id)


def waiting(session: Session) -> list[str]:
    """Return the records whose files have not been deleted."""
    return list(session.scalars(select(Discard.id).order_by(Discard.id)))


def follow(database: Database, storage: Storage, note_id: str) -> None:
    """Delete a record and its file, unless a row now refers to the file."""
    with database.transaction() as session:
        key = session.scalar(delete(Discard).where(Discard.id == note_id).returning(Discard.key))
        if key is not None:
            _remove(session, storage, key)


def drop_unnamed(database: Database, storage: Storage, key: str) -> None:
    """Delete a file whose transaction seems to have failed, unless a row refers to it.

    A lost response to a COMMIT looks like a failure, so the rows decide, not the caller.
    """
    try:
        with database.transaction() as session:
            notes = note(session, [key])
        follow_all(database, storage, notes)
    except (StorageUnreachable, DBAPIError) as error:  # the record remains for the reaper
        log.warning("cannot remove %s: %s", key, error)


def drop_refused(database: Database, storage: Storage, key: str, is_wanted: Callable[[Session], bool]) -> None:
    """Delete the file of a row that remains but must not be used, unless another row refers to the same content.

    A concurrent registration of that content takes the same lock: if it comes first, the file is kept; if it comes
    second, the file is gone.

    Raises:
        StorageUnreachable: the store does not respond.
    """
    with database.transaction() as session:
        notes = note(session, [key])
        _lock(session, key)
        if not is_wanted(session):
            storage.delete(key)
        session.execute(delete(Discard).where(Discard.id.in_(notes)))


def hold(session: Session, storage: Storage, key: str) -> None:
    """Check that a file to which a row of this transaction refers exists, and protect it from deletion.

    Call it after the row is flushed: on SQLite that write is the lock.

    Raises:
        Unavailable: it has just been deleted; if the client retries, it is stored again.
    """
    _lock(session, key)
    if not storage.exists(key):
        raise Unavailable("expected the upload in the file store, but it has just been removed: upload it again")


def _remove(session: Session, storage: Storage, key: str) -> None:
    _lock(session, key)
    if all(session.scalar(select(column).where(column == key).limit(1)) is None for column in NAMING):
        storage.delete(key)


def _lock(session: Session, key: str) -> None:
    """Wait for transactions that register or remove this file; on SQLite, the caller's own write has already waited."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(key, 0))))
