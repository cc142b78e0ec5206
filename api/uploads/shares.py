"""Sharing datasets and models: read-only, with named owners or everyone. Functions take the request's session.

A reader can use a dataset or model while it is shared (`api.ownership`), but never change it. As always, its owner
cannot delete it while a job refers to it. Revoking a share does not stop jobs that are already queued.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from api.errors import Invalid
from api.ownership import is_shared
from api.pagination import get_or_404, not_found
from api.tables.datasets import Dataset
from api.tables.models import Model
from api.tables.shares import Share
from rdrkd.errors import Problem

Table = type[Dataset] | type[Model]
MOST = 100  # readers of one dataset or model; its list has one page


def readers_of(session: Session, table: Table, id_: str) -> Sequence[Share]:
    """Read the shares of a dataset or model, oldest first.

    Raises:
        NotFound: there is none, or it is another owner's.
    """
    _own(session, table, id_)
    return session.scalars(select(Share).where(Share.thing_id == id_).order_by(Share.created_at, Share.reader)).all()


def share(session: Session, table: Table, id_: str, reader: str) -> None:
    """Let an owner, or everyone, read and use a dataset or model; repetition changes nothing.

    Raises:
        NotFound: there is none, or it is another owner's.
        Invalid: it has too many readers.
    """
    # The lock, which PostgreSQL needs, keeps a concurrent deletion from leaving this share behind.
    _own(session, table, id_, with_for_update={"read": True, "key_share": True})
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    session.execute(insert(Share).values(reader=reader, thing_id=id_).on_conflict_do_nothing())
    if (count := session.scalar(select(func.count()).where(Share.thing_id == id_)) or 0) > MOST:
        detail = f"expected at most {MOST} readers, got {count}: share with everyone, `*`, or stop sharing with some"
        raise Invalid.at(Problem("/reader", detail))


def unshare(session: Session, table: Table, id_: str, reader: str) -> None:
    """Revoke a share: its reader no longer sees the dataset or model; repetition changes nothing.

    Raises:
        NotFound: there is none, or it is another owner's.
    """
    _own(session, table, id_)
    session.execute(delete(Share).where(Share.thing_id == id_, Share.reader == reader))


def _own(session: Session, table: Table, id_: str, **options: Any) -> None:
    if is_shared(get_or_404(session, table, id_, **options)):
        raise not_found(table, id_)
