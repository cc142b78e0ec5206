"""The audit log: written in the transaction of each recorded change, and deleted after some days."""

from collections.abc import Sequence

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from api.caller import Caller
from api.db import after_seconds, new_id
from api.pagination import page
from api.tables.audit import Audit

LONGEST = 110  # characters of an object: an id, or of a share `<id>/<reader>`


def record(session: Session, caller: Caller, action: str, object_: str | None, request_id: str | None = None) -> None:
    """Record the caller's action; the entry is committed with the transaction."""
    row = Audit(id=new_id("aud"), key=caller.key, owner=caller.owner, action=action, request_id=request_id)
    row.object = object_[:LONGEST] if object_ is not None else None
    session.add(row)


def newest(
    session: Session, limit: int, after: str | None, **filters: str | None
) -> tuple[Sequence[Audit], str | None]:
    """Read one page of the log, newest first, and the next cursor; filters by column narrow it down.

    The filter by object also finds the shares of a dataset or model, whose object is `<id>/<reader>`.
    """
    query = select(Audit)
    if (about := filters.pop("object", None)) is not None:
        query = query.where(or_(Audit.object == about, Audit.object.startswith(f"{about}/", autoescape=True)))
    query = query.filter_by(**{name: value for name, value in filters.items() if value is not None})
    return page(session, query, Audit.id, limit, after)


def purge(session: Session, days: float) -> None:
    """Delete entries older than this many days."""
    session.execute(delete(Audit).where(Audit.at < after_seconds(-days * 86_400)))
