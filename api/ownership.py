"""Ownership of rows: every query of a request is restricted to the rows of its caller's owner, in one place.

The request's session knows its caller; what it selects, changes or deletes of an owned table is narrowed to the
caller's owner, also in subqueries. So another's things are not there: 404, never 403. An admin's request is not
narrowed, and neither are the sessions of workers and reaper, which have no caller.

Datasets and models can be shared. What is shared is found only by a session that was bound `with_shared`: of a
request that reads, or that names it in a job. Statements that change or delete are narrowed to the owner in any case.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, String, event
from sqlalchemy.orm import Mapped, ORMExecuteState, Session, mapped_column, object_session, with_loader_criteria

from api.caller import Caller, Scope

T = TypeVar("T")
EVERYBODYS = {"everybodys": True}  # execution options of a query that counts across owners and shows nothing of theirs


class Owned:
    """Adds the owner column to a table."""

    owner: Mapped[str | None] = mapped_column(String(64), index=True)  # null: the operator's, only admins see it

    @classmethod
    def readable_by(cls, owner: Any) -> ColumnElement[bool]:
        """Return which rows an owner may read; a table whose rows can be shared adds these."""
        own: ColumnElement[bool] = cls.owner == owner
        return own


def bind(session: Session, caller: Caller, with_shared: bool = False) -> None:
    """Let the session act for a caller.

    Args:
        session: a new one.
        caller: for whom it acts.
        with_shared: whether it also finds what other owners share with the caller.
    """
    session.info["caller"], session.info["with_shared"] = caller, with_shared


def is_shared(row: Owned) -> bool:
    """Return whether a row is another owner's, and its session's caller sees it because it is shared."""
    session = object_session(row)
    caller: Caller | None = session.info.get("caller") if session is not None else None
    return caller is not None and caller.scope != Scope.ADMIN and row.owner != caller.owner


def owner_of(session: Session) -> str | None:
    """Return the owner for whom the session acts, and to whom everything that it creates belongs."""
    caller: Caller | None = session.info.get("caller")
    return caller.owner if caller is not None else None


def owners_named(session: Session) -> tuple[str | None, ...]:
    """Return the owners whose names the session's caller can use, in this order.

    An admin sees the things of all owners, but only two owners' names resolve: his own and the operator's, whose
    things may be older than any key. Names of other owners could be the same; their ids work.
    """
    caller: Caller | None = session.info.get("caller")
    if caller is not None and caller.scope == Scope.ADMIN and caller.owner is not None:
        return caller.owner, None
    return (owner_of(session),)


def first_named(session: Session, find: Callable[[str | None], T | None]) -> T | None:
    """Return the first result of `find` among the owners whose names the caller can use, and that owner."""
    return next((found for owner in owners_named(session) if (found := find(owner)) is not None), None)


@event.listens_for(Session, "do_orm_execute")
def _narrow(state: ORMExecuteState) -> None:
    caller: Caller | None = state.session.info.get("caller")
    if caller is None or caller.scope == Scope.ADMIN or state.execution_options.get("everybodys"):
        return
    # Refreshes are of rows that the session has found before.
    if (state.is_select and not state.is_column_load) or state.is_update or state.is_delete:
        owner = caller.owner
        if state.is_select and state.session.info.get("with_shared"):
            mine = with_loader_criteria(Owned, lambda table: table.readable_by(owner), include_aliases=True)
        else:
            mine = with_loader_criteria(Owned, lambda table: table.owner == owner, include_aliases=True)
        state.statement = state.statement.options(mine)
