"""Sharing datasets and models: read-only, with named owners or everyone. Functions take the request's session.

A reader sees what is shared as long as the share stands (`api.ownership`), and never to change it. A job that
names it keeps it, as any job does: its owner cannot delete it, and a revoked share does not stop a job that has been
queued.
"""

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from api.errors import NotFound
from api.ownership import is_shared
from api.pages import get_or_404
from api.tables.datasets import Dataset
from api.tables.models import Model
from api.tables.shares import Share

Table = type[Dataset] | type[Model]


def readers_of(session: Session, table: Table, id_: str) -> Sequence[Share]:
    """List with whom its owner shares a dataset or model, oldest first.

    Raises:
        NotFound: there is none, or it is another owner's.
    """
    _own(session, table, id_)
    return session.scalars(select(Share).where(Share.thing_id == id_).order_by(Share.created_at, Share.reader)).all()


def share(session: Session, table: Table, id_: str, reader: str) -> None:
    """Let an owner, or everyone, read and use a dataset or model; doing it again changes nothing.

    Raises:
        NotFound: there is none, or it is another owner's.
    """
    _own(session, table, id_)
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    session.execute(insert(Share).values(reader=reader, thing_id=id_).on_conflict_do_nothing())


def unshare(session: Session, table: Table, id_: str, reader: str) -> None:
    """Take a share back: from now on the reader neither sees nor uses it; doing it again changes nothing.

    Raises:
        NotFound: there is none, or it is another owner's.
    """
    _own(session, table, id_)
    session.execute(delete(Share).where(Share.thing_id == id_, Share.reader == reader))


def _own(session: Session, table: Table, id_: str) -> None:
    row = get_or_404(session, table, id_)
    if is_shared(row):
        raise NotFound(f"expected the id of a {table.__tablename__}, got one that is not here")
