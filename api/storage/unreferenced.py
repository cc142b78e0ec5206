"""Find and delete old stored files that no row refers to, left by a crash between writing a file and its row.

A row may appear during the search. So a file is removed like any other that is no longer needed
(`api.storage.deletions`): under the lock that registering an upload holds until its commit, and only if no row then
refers to it. Attempts' files are not registered in this way; they are kept until their job has ended, or their
dataset's check.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.db import Database
from api.storage import Storage, deletions
from api.tables.datasets import Dataset
from api.tables.jobs import Job
from api.tables.states import TERMINAL
from api.tables.uploads import UploadStatus

log = logging.getLogger(__name__)

AT_ONCE = 500  # keys per query


def collect(
    database: Database, storage: Storage, older_than_seconds: float, found: Callable[[list[str]], None] | None = None
) -> int:
    """Delete unreferenced files; return how many.

    Args:
        database: where the rows are.
        storage: where the files are.
        older_than_seconds: younger files are kept, since their row may not be written yet.
        found: called with each file before it is checked again and deleted.
    """
    removed = 0
    old = (file.key for file in storage.stored() if file.age_seconds > older_than_seconds)
    for keys in _batches(old):
        with database.transaction() as session:
            orphans = _orphans(session, keys)
        if found is not None:
            found(orphans)
        for key in orphans:
            log.info("removed %s, which no row refers to", key)
            deletions.drop_unnamed(database, storage, key)
        removed += len(orphans)
    return removed


def _orphans(session: Session, keys: list[str]) -> list[str]:
    """Return the keys that no row refers to, of uploads, and of jobs and checks that have ended or been deleted."""
    named = {key for column in deletions.NAMING for key in session.scalars(select(column).where(column.in_(keys)))}
    left = [key for key in keys if key not in named]
    jobs = {job for key in left if (job := _owner_of(key, "jobs"))}
    active = set(session.scalars(select(Job.id).where(Job.id.in_(jobs), Job.status.not_in(TERMINAL))))
    checked = {dataset for key in left if (dataset := _owner_of(key, "previews"))}
    under_way = select(Dataset.id).where(Dataset.id.in_(checked), Dataset.status == UploadStatus.CHECKING)
    active |= set(session.scalars(under_way))
    return [key for key in left if key.startswith("uploads/") or _row_of(key) not in {None, *active}]


def _row_of(key: str) -> str | None:
    """Return the id of the row for which an attempt stored a file; None for a file that is named by its content.

    >>> _row_of("jobs/job_1/attempt-1/final/x.html"), _row_of("previews/ds_1/attempt-1.jpg"), _row_of("uploads/e3.zip")
    ('job_1', 'ds_1', None)
    """
    return _owner_of(key, "jobs") or _owner_of(key, "previews")


def _owner_of(key: str, kind: str) -> str | None:
    folder, _, rest = key.partition("/")
    return rest.partition("/")[0] if folder == kind else None


def _batches(keys: Iterable[str]) -> Iterator[list[str]]:
    keys = iter(keys)
    while batch := list(islice(keys, AT_ONCE)):
        yield batch
