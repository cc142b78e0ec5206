"""Ownership of rows: every query of a request is restricted to the rows of its caller's owner, in one place.

The request's session carries its caller; its statements on owned tables are narrowed to the rows of the caller's owner,
also in subqueries. So rows of other owners do not exist for the caller: 404, never 403. An admin's request is not
narrowed, and neither are the sessions of workers and reaper, which have no caller.

Datasets and models can be shared. Only a session that was bound `with_shared` finds what other owners share, for
requests that read it or refer to it in a job. Writes stay restricted to the caller's owner: UPDATE and DELETE
statements are narrowed, and a flush that would write another owner's row fails.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, String, event, false, not_
from sqlalchemy.orm import Mapped, ORMExecuteState, Session, mapped_column, object_session, with_loader_criteria

from api.caller import Caller, Scope

T = TypeVar("T")
EVERYBODYS = {"everybodys": True}  # execution options of a query across owners, whose rows are not shown to the caller


class NotOwner(RuntimeError):
    """A request was about to write a row that it may only read: a fault of the endpoint."""


class Owned:
    """Adds the owner column to a table."""

    owner: Mapped[str | None] = mapped_column(String(64), index=True)  # null: the operator's, only admins see it

    @classmethod
    def readable_by(cls, owner: Any) -> ColumnElement[bool]:
        """Return the condition for the rows that an owner may read; tables whose rows can be shared widen it."""
        own: ColumnElement[bool] = cls.owner == owner
        return own


def bind(session: Session, caller: Caller, with_shared: bool = False) -> None:
    """Let the session act for a caller.

    Args:
        session: a new one.
        caller: the caller for whom it acts.
        with_shared: also find what other owners share with the caller.
    """
    session.info["caller"], session.info["with_shared"] = caller, with_shared


def is_shared(row: Owned) -> bool:
    """Return whether a row belongs to another owner, so that the session's caller sees it only because it is shared.

    Raises:
        RuntimeError: the row is in no session, so its reader is unknown.
    """
    if (session := object_session(row)) is None:
        raise RuntimeError("expected a row of a session, got a detached one")
    return _is_anothers(session, row)


def _is_anothers(session: Session, row: Owned) -> bool:
    caller: Caller | None = session.info.get("caller")
    return caller is not None and not caller.sees(row.owner)


def by_sharing(session: Session, query: Select[T], table: type[Owned], shared: bool | None) -> Select[T]:
    """Narrow a query for rows of a table to those that other owners share with the session's caller, or to the others.

    Args:
        session: the caller's.
        query: the query.
        table: the table.
        shared: true: only rows for which `is_shared` is true; false: only the others; None: all.
    """
    if shared is None:
        return query
    caller: Caller | None = session.info.get("caller")
    anothers: ColumnElement[bool] = false()
    if caller is not None and caller.scope != Scope.ADMIN:  # who sees everything as their own
        anothers = table.owner.is_distinct_from(caller.owner)
    return query.where(anothers if shared else not_(anothers))


def owner_of(session: Session) -> str | None:
    """Return the owner for whom the session acts, and to whom everything that it creates belongs."""
    caller: Caller | None = session.info.get("caller")
    return caller.owner if caller is not None else None


def owners_named(session: Session) -> tuple[str | None, ...]:
    """Return the owners whose names the session's caller can use, in this order.

    An admin sees the objects of all owners, but only two owners' names resolve: the admin's own and the operator's,
    whose objects may be older than any key. Objects of other owners may have the same names, so only their ids resolve.
    """
    caller: Caller | None = session.info.get("caller")
    if caller is not None and caller.scope == Scope.ADMIN and caller.owner is not None:
        return caller.owner, None
    return (owner_of(session),)


def first_named(session: Session, find: Callable[[str | None], T | None]) -> T | None:
    """Return the first result of `find` among the owners whose names the caller can use, and that owner."""
    return next((found for owner in owners_named(session) if (found := find(owner)) is not None), None)


@event.listens_for(Session, "before_flush")
def _refuse_to_write(session: Session, *_: Any) -> None:
    for row in (*session.dirty, *session.deleted):
        if isinstance(row, Owned) and _is_anothers(session, row):
            raise NotOwner(f"expected a row of the caller's to be written, got another owner's {type(row).__name__}")


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
