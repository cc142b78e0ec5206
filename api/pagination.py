"""Cursor pagination, newest first: ids sort by time, so rows that are added meanwhile do not shift pages."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, Field
from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from api.db import Base
from api.errors import NotFound
from rdrkd.spec.forms import form

Row = TypeVar("Row", bound=Base)
View = TypeVar("View")

Limit = Annotated[int, Field(ge=1, le=100, description="rows per page")]
After = Annotated[
    str | None,
    Field(
        pattern=form(r"^[a-z]+_[0-9a-f]{32}$", "`next` of the previous page, an id"),
        description="`next` of the previous page; default: start with the newest rows",
    ),
]
Shared = Annotated[
    bool | None,
    Field(description="true: only what other owners share with you; false: only your own; default: both"),
]
_ID = re.compile(r"[a-z]+_[0-9a-f]{32}")


class Page(BaseModel, Generic[View]):
    """One page: rows from newest to oldest."""

    data: list[View]
    has_more: bool
    next: str | None = Field(None, description="value of `after` for the next page; null on the last page")


def page(
    session: Session, query: Select[Row], id_: InstrumentedAttribute[str], limit: int, after: str | None
) -> tuple[Sequence[Row], str | None]:
    """Return the rows of `query` that come after the row with id `after`, and the next cursor if there are more."""
    if after is not None:
        query = query.where(id_ < after)
    rows = session.scalars(query.order_by(id_.desc()).limit(limit + 1)).all()
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], str(getattr(rows[limit - 1], id_.key))


def get_or_404(session: Session, table: type[Row], id_: str, **options: Any) -> Row:
    """Read a row by its id.

    Raises:
        NotFound: there is none.
    """
    row = session.get(table, id_, **options) if is_id(id_) else None
    if row is None:
        raise not_found(table, id_)
    return row


def not_found(table: type[Base], text: str) -> NotFound:
    """Return the refusal of a request for a row that does not exist, with the text that was to name it."""
    return NotFound(f"expected the id or name of a {table.__tablename__} that exists, got {text[:80]!r}")


def is_id(text: str) -> bool:
    """Return whether a text has the form of an id: only such a text reaches the database or becomes part of a path.

    >>> is_id("job_" + 32 * "0"), is_id("../../etc")
    (True, False)
    """
    return _ID.fullmatch(text) is not None
