"""Register stored files as datasets or models, for both kinds of upload."""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import delete as sql_delete
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.access import quotas
from api.access.transactions import UnitOfWork
from api.db import now
from api.errors import InUse
from api.ownership import owner_of
from api.pagination import get_or_404
from api.storage import Storage, Stored, deletions
from api.tables import job_inputs
from api.tables.datasets import Dataset
from api.tables.models import Model, ModelFile
from api.tables.shares import Share
from api.uploads import dependents, model_versions
from api.uploads.ledger.reservations import Held
from api.wake_ups import INSPECT

Row = TypeVar("Row", bound=Dataset | Model)


def register(
    work: UnitOfWork, store: Storage, stored: Stored, create: Callable[[Session], Row], held: Held | None = None
) -> Row:
    """Create the row of a stored file, have a worker check it, and protect the file as long as the row exists.

    Args:
        work: the request's transaction.
        store: the file store.
        stored: the file.
        create: function that returns the row.
        held: its reservation, which the row now replaces.

    Raises:
        QuotaExceeded: the owner's storage quota is exceeded.
        Unavailable: the file was removed just now; sent again, it will be stored again.
    """
    if stored.new:
        work.undo(lambda: deletions.drop_unnamed(work.database, store, stored.key))  # another request may use it now
    if held is not None:
        held.release_in(work.session)
        work.then(held.released)
    row = create(work.session)
    deletions.hold(work.session, store, stored.key)
    work.ring(INSPECT, row.id)
    return row


def add(session: Session, row: Row) -> Row:
    """Add the row of a stored file for the caller, within the quota, and queue its check.

    Raises:
        QuotaExceeded: the owner's storage quota is exceeded.
    """
    return add_for(session, row, owner_of(session))


def add_for(session: Session, row: Row, owner: str | None) -> Row:
    """Add the row of a stored file for an owner, whoever the caller is.

    Raises:
        QuotaExceeded: as for `add`.
    """
    row.owner = owner
    if isinstance(row, Model):
        model_versions.number(session, row)
    row.rung_at = now()  # the message is sent right after the commit; if that fails, the reaper sends another
    session.add(row)
    session.flush()
    quotas.check_storage(session, row.owner)
    return row


def delete(session: Session, table: type[Dataset] | type[Model], id_: str) -> list[str]:
    """Delete a row that nothing refers to; return the records of the files to delete after the commit.

    Raises:
        NotFound: there is none.
        InUse: a job or a study refers to it.
    """
    key = get_or_404(session, table, id_).key
    if (user := dependents.of_upload(session, id_)) is not None:
        raise InUse(f"expected a {table.__tablename__} that nothing refers to, but it is needed by {user}")
    written = session.scalars(select(ModelFile.key).where(ModelFile.model_id == id_)).all()
    # Not through the session: another request may have been faster, and a worker may be checking it.
    session.execute(sql_delete(table).where(table.id == id_).execution_options(synchronize_session=False))
    session.execute(sql_delete(Share).where(Share.thing_id == id_))  # only now: concurrent shares have committed
    if job_inputs.user_of(session, id_) is not None:  # the job held the row until it was committed
        raise InUse(f"expected a {table.__tablename__} that nothing refers to, but a job has just referred to it")
    return deletions.note(session, [*written, *([key] if key is not None else [])])
