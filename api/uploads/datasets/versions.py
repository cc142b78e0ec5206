"""Versions of datasets: an owner's uploads under one name, numbered. Functions take the request's session."""

import re

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from api.db import new_id
from api.ownership import first_named, owner_of
from api.tables.datasets import Dataset, DatasetName
from api.tables.uploads import UploadStatus


def number(session: Session, name: str) -> int:
    """Assign a version its number, one request at a time; numbers of deleted versions are not reused."""
    owner = owner_of(session)
    _one_at_a_time(session, owner, name)
    # Write the counter before reading anything: on SQLite this write is the lock.
    mine = (DatasetName.name == name, DatasetName.owner.is_not_distinct_from(owner))
    counted = update(DatasetName).where(*mine).values(newest=DatasetName.newest + 1).returning(DatasetName.newest)
    newest = session.scalar(counted.execution_options(synchronize_session=False))
    if newest is None:
        newest = 1
        session.add(DatasetName(id=new_id("dsn"), owner=owner, name=name, newest=newest))
        session.flush()
    return newest


def same_content(session: Session, row: Dataset, sha256: str) -> str | None:
    """Return the id of the first version of the same name, before this one, with this content."""
    if row.version is None:
        return None
    same = select(Dataset.id).where(
        Dataset.name == row.name, Dataset.owner.is_not_distinct_from(row.owner), Dataset.version < row.version,
        Dataset.sha256 == sha256, Dataset.lenient.is_(row.lenient), Dataset.keep.is_(row.keep),
        Dataset.divide.is_not_distinct_from(row.divide), Dataset.status != UploadStatus.INVALID,
    )  # fmt: skip
    return session.scalar(same.order_by(Dataset.version).limit(1))


def named(session: Session, reference: str) -> Dataset | None:
    """Find a dataset by `name@version`, or by `name`: its newest version that is not invalid.

    The caller's own names come first; for an admin, the operator's names resolve, too.
    """
    return first_named(session, lambda owner: _of_owner(session, reference, owner))


def _of_owner(session: Session, reference: str, owner: str | None) -> Dataset | None:
    mine = select(Dataset).where(Dataset.owner.is_not_distinct_from(owner))
    if (numbered := re.fullmatch(r"(.+)@([1-9]\d{0,8})", reference)) is not None:
        query = mine.where(Dataset.name == numbered[1], Dataset.version == int(numbered[2]))
        if (found := session.scalar(query)) is not None:
            return found
    usable = mine.where(Dataset.name == reference, Dataset.status != UploadStatus.INVALID)
    return session.scalar(usable.order_by(Dataset.version.desc()).limit(1))


def _one_at_a_time(session: Session, owner: str | None, name: str) -> None:
    if session.get_bind().dialect.name == "postgresql":
        lock = f"dataset {owner or ''}\n{name}"
        session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(lock, 0))))
