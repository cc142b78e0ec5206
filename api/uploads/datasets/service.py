"""The API's operations on datasets. Functions take the request's session and never commit."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.db import new_id
from api.errors import NotFound, NotReady
from api.ownership import by_sharing, owner_of
from api.pagination import get_or_404, page
from api.storage import Stored, deletions
from api.tables.datasets import Dataset
from api.tables.uploads import UploadStatus
from api.uploads import service
from api.uploads.datasets import versions
from api.uploads.datasets.reading import AS_IT_IS, Words


def create(session: Session, stored: Stored, filename: str, name: str | None, words: Words = AS_IT_IS) -> Dataset:
    """Register a stored archive; a worker will check it. The same content twice is two rows on one file.

    Raises:
        QuotaExceeded: the owner's storage quota is exceeded.
    """
    row = _numbered(session, name=name, filename=filename, size=stored.size, **words.values)
    row.key, row.sha256 = stored.key, stored.sha256
    row.same_content_as = versions.same_content(session, row, stored.sha256)
    return service.add(session, row)


def announce(
    session: Session, source: str, filename: str, size: int, name: str | None, words: Words = AS_IT_IS
) -> Dataset:
    """Register a folder or bucket prefix that a worker will copy and then check.

    Raises:
        QuotaExceeded: the owner's storage quota is exceeded.
    """
    row = _numbered(session, name=name, filename=filename, size=size, **words.values)
    row.source = source
    return service.add(session, row)


def _numbered(session: Session, **values: Any) -> Dataset:
    row = Dataset(id=new_id("ds"), owner=owner_of(session), **values)
    row.version = versions.number(session, row.name) if row.name is not None else None
    return row


def get(session: Session, dataset_id: str) -> Dataset:
    """Read one dataset.

    Raises:
        NotFound: there is none.
    """
    return get_or_404(session, Dataset, dataset_id)


def newest(
    session: Session,
    limit: int,
    after: str | None,
    name: str | None = None,
    sha256: str | None = None,
    shared: bool | None = None,
) -> tuple[Sequence[Dataset], str | None]:
    """Read one page of datasets, newest first, and the next cursor; the other arguments are filters."""
    query = by_sharing(session, select(Dataset), Dataset, shared)
    if name is not None:
        query = query.where(Dataset.name == name)
    if sha256 is not None:
        query = query.where(Dataset.sha256 == sha256)
    return page(session, query, Dataset.id, limit, after)


def versions_of(
    session: Session, dataset_id: str, limit: int, after: str | None
) -> tuple[Sequence[Dataset], str | None]:
    """Read one page of the versions of a dataset's name, newest first; without a name, only the dataset itself.

    Raises:
        NotFound: there is no such dataset.
    """
    row = get(session, dataset_id)
    query = select(Dataset).where(Dataset.owner.is_not_distinct_from(row.owner))
    same = Dataset.id == row.id if row.name is None else Dataset.name == row.name
    return page(session, query.where(same), Dataset.id, limit, after)


def with_preview(session: Session, dataset_id: str) -> Dataset:
    """Return a dataset that has a preview.

    Raises:
        NotFound: there is no such dataset, or it has no preview, because it is invalid or was checked by an earlier
            version.
        NotReady: it is not checked yet.
    """
    row = get(session, dataset_id)
    if row.status == UploadStatus.CHECKING:
        raise NotReady("expected a dataset that has been checked, got one that is being checked")
    if row.preview_key is None:
        raise NotFound(f"expected a dataset with a preview, got one that is {row.status} without any")
    return row


def delete(session: Session, dataset_id: str) -> list[str]:
    """Delete a dataset that nothing refers to; return the records of the files to delete after the commit.

    Raises:
        NotFound: there is none.
        InUse: a job or a study refers to it.
    """
    row = get(session, dataset_id)
    drawn = [key for key in (row.preview_key, row.album_key) if key is not None]
    return service.delete(session, Dataset, dataset_id) + deletions.note(session, drawn)
