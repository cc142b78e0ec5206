"""Files of the store that are to go with the rows that named them: rows first, then files, each file for certain.

Whoever deletes rows notes their files in the same transaction. After its commit the files are removed; what a crash
leaves, the reaper removes. Uploads are named by their content, so a file may be asked for again in that moment: whoever
registers one and whoever removes it take the same lock, and the second sees what the first has done.
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
)  # the columns that name files


class Discard(Base):
    """A file that no row needs any more."""

    __tablename__ = "discard"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)  # dis_<uuid7>
    key: Mapped[str] = mapped_column(String(300))  # where in the storage
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=now())


def note(session: Session, keys: Iterable[str]) -> list[str]:
    """Note files whose rows go in this transaction; give the notes' ids."""
    notes = [{"id": new_id("dis"), "key": key} for key in sorted(set(keys))]
    if notes:
        session.execute(insert(Discard), notes)
    return [each["id"] for each in notes]


def follow_all(database: Database, storage: Storage, note_ids: Iterable[str]) -> None:
    """Remove the files of these notes."""
    for note_id in note_ids:
        follow(database, storage, note_id)


def waiting(session: Session) -> list[str]:
    """Return the notes that nobody has followed."""
    return list(session.scalars(select(Discard.id).order_by(Discard.id)))


def follow(database: Database, storage: Storage, note_id: str) -> None:
    """Remove the file of a note, unless a row names it by now, and the note."""
    with database.transaction() as session:
        key = session.scalar(delete(Discard).where(Discard.id == note_id).returning(Discard.key))
        if key is not None:
            _remove(session, storage, key)


def drop_unnamed(database: Database, storage: Storage, key: str) -> None:
    """Remove a file that was stored for what seems to have come to nothing, unless a row names it.

    It seems so, too, to whoever has lost the answer to a COMMIT; so the rows are asked, not the caller.
    """
    try:
        with database.transaction() as session:
            notes = note(session, [key])
        follow_all(database, storage, notes)
    except (StorageUnreachable, DBAPIError) as error:  # the note stays for the reaper, which looks for orphans, too
        log.warning("cannot remove %s: %s", key, error)


def drop_refused(database: Database, storage: Storage, key: str, is_wanted: Callable[[Session], bool]) -> None:
    """Remove the file of a row that stays but may not be used, unless another row wants the same content.

    Whoever registers that content meanwhile takes the same lock: before this, and it is wanted, or after, and it is
    gone.

    Raises:
        StorageUnreachable: the store does not answer.
    """
    with database.transaction() as session:
        notes = note(session, [key])
        _lock(session, key)
        if not is_wanted(session):
            storage.delete(key)
        session.execute(delete(Discard).where(Discard.id.in_(notes)))


def hold(session: Session, storage: Storage, key: str) -> None:
    """Make sure that a file which a row of this transaction names is there, and stays.

    Call it after the row is flushed: on SQLite that write is the lock.

    Raises:
        Unavailable: it was removed just now; sent again, it will be stored again.
    """
    _lock(session, key)
    if not storage.exists(key):
        raise Unavailable("expected the upload in the file store, got nothing there: it was removed just now")


def _remove(session: Session, storage: Storage, key: str) -> None:
    _lock(session, key)
    if all(session.scalar(select(column).where(column == key).limit(1)) is None for column in NAMING):
        storage.delete(key)


def _lock(session: Session, key: str) -> None:
    """Wait for whoever registers or removes this file; every caller has written, so SQLite has made it wait."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(key, 0))))
