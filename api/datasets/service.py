"""What happens to datasets. Functions take the request's session and never commit."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from api import registration
from api.datasets.tables import Dataset
from api.db import new_id
from api.pages import get_or_404, page
from api.storage import Stored


def create(session: Session, stored: Stored, filename: str, name: str | None) -> Dataset:
    """Register a stored archive; a worker will check it. The same content twice is two rows on one file.

    Raises:
        QuotaExceeded: it is more than its owner may store.
    """
    row = Dataset(id=new_id("ds"), name=name, filename=filename, key=stored.key, sha256=stored.sha256, size=stored.size)
    return registration.add(session, row)


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
    return registration.delete(session, Dataset, dataset_id)
