"""What happens to datasets. Functions take the request's session and never commit."""

from collections.abc import Sequence

from sqlalchemy import delete as sql_delete
from sqlalchemy import select
from sqlalchemy.orm import Session

from api import discards, needs, quotas
from api.datasets.tables import Dataset
from api.db import new_id, now
from api.errors import InUse
from api.ownership import owner_of
from api.pages import get_or_404, page
from api.storage import Stored


def create(session: Session, stored: Stored, filename: str, name: str | None) -> Dataset:
    """Register a stored archive; a worker will check it. The same content twice is two rows on one file.

    Raises:
        QuotaExceeded: it is more than its owner may store.
    """
    row = Dataset(id=new_id("ds"), name=name, filename=filename, key=stored.key, sha256=stored.sha256, size=stored.size)
    row.owner = owner_of(session)
    row.rung_at = now()  # the doorbell rings right after the commit; should that fail, the reaper rings again
    session.add(row)
    session.flush()
    quotas.check_storage(session, row.owner)
    return row


def get(session: Session, dataset_id: str) -> Dataset:
    """Read one dataset.

    Raises:
        NotFound: there is none.
    """
    return get_or_404(session, Dataset, dataset_id)


def newest(session: Session, limit: int, after: str | None) -> tuple[Sequence[Dataset], str | None]:
    """Read one page of datasets, newest first, and the next cursor."""
    return page(session, select(Dataset), Dataset.id, limit, after)


def delete(session: Session, dataset_id: str) -> list[str]:
    """Delete a dataset that nothing names; give the notes of the files to remove once this is committed.

    Raises:
        NotFound: there is none.
        InUse: a job or a study names it.
    """
    row = get(session, dataset_id)
    if (user := needs.of_upload(session, dataset_id)) is not None:
        raise InUse(f"expected a dataset that nothing needs, got one that is needed by {user}")
    # Not through the session: another request may have been faster, and a worker may be checking it.
    session.execute(sql_delete(Dataset).where(Dataset.id == dataset_id).execution_options(synchronize_session=False))
    return discards.note(session, [row.key])
