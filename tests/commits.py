"""COMMITs whose response is lost, on any database: the rows are committed, but their writer gets an error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from api.db import Base, Database


@contextmanager
def lost(
    database: Database, table: type[Base], then: Callable[[], None] = lambda: None, column: str = ""
) -> Iterator[list[bool]]:
    """Lose the response to the first COMMIT that writes `table`, or its `column`; first call `then`."""
    losses = list[bool]()
    written = set[int]()

    def note(state: sa.orm.ORMExecuteState) -> None:
        of = getattr(getattr(state.statement, "table", None), "name", None)
        if of == table.__tablename__ and column in str(state.statement):
            written.add(id(state.session))

    def flushed(session: Session, _context: object) -> None:
        if not column and any(isinstance(row, table) for row in (*session.new, *session.dirty)):
            written.add(id(session))

    def committed(session: Session) -> None:
        if id(session) in written and not losses:
            losses.append(True)
            then()
            raise OperationalError("COMMIT", {}, ConnectionError("the answer is lost"), connection_invalidated=True)

    hooks = {"do_orm_execute": note, "after_flush": flushed, "after_commit": committed}
    for name, hook in hooks.items():
        sa.event.listen(database._sessions, name, hook)
    try:
        yield losses
    finally:
        for name, hook in hooks.items():
            sa.event.remove(database._sessions, name, hook)
