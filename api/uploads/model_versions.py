"""Models by name: numbered versions and movable aliases, both resolved to a model.

A reference is `<name>@<alias>` or `<name>@<version>`. Queued jobs store the model's id, so moving an alias later does
not affect them.
"""

import hashlib

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from api.db import now
from api.ownership import first_named
from api.tables.models import Model, ModelAlias, ModelSeries
from api.tables.uploads import UploadStatus

MOST_DIGITS = 9  # digits of a version


def series_id(owner: str | None, name: str) -> str:
    """Return the id of an owner's model name, derived from both."""
    return "ser_" + hashlib.sha256(f"{owner or ''}\0{name}".encode()).hexdigest()[:32]


def number(session: Session, row: Model) -> None:
    """Assign a named model the next version; concurrent requests get different ones."""
    if row.name is None:
        return
    one = series_id(row.owner, row.name)
    further = update(ModelSeries).where(ModelSeries.id == one).values(versions=ModelSeries.versions + 1)
    counted = further.returning(ModelSeries.versions).execution_options(synchronize_session=False)
    if (version := session.scalar(counted)) is None:
        try:
            with session.begin_nested():
                first = {"id": one, "owner": row.owner, "name": row.name, "versions": 0}
                session.execute(insert(ModelSeries).values(first))
        except IntegrityError:  # another request was first
            pass
        version = session.scalar(counted)
    row.version = version


def move(session: Session, row: Model, alias: str) -> None:
    """Point an alias to this version."""
    assert row.name is not None
    this = {"series_id": series_id(row.owner, row.name), "alias": alias}
    moved = update(ModelAlias).filter_by(**this).values(model_id=row.id, moved_at=now()).returning(ModelAlias.alias)
    moved = moved.execution_options(synchronize_session=False)
    if session.scalar(moved) is None:
        try:
            with session.begin_nested():
                session.execute(insert(ModelAlias).values(**this, owner=row.owner, model_id=row.id))
        except IntegrityError:  # another request was first
            session.scalar(moved)


def named(session: Session, reference: str) -> str | None:
    """Return the id of the caller's model named `name@alias`, `name@version`, or `name` for its newest version.

    The caller's own names come first; for an admin, the operator's names resolve, too.
    """
    return first_named(session, lambda owner: _of_owner(session, reference, owner))


def _of_owner(session: Session, reference: str, owner: str | None) -> str | None:
    mine = select(Model.id).where(Model.owner.is_not_distinct_from(owner))
    name, _, which = reference.rpartition("@")
    if name and which.isdecimal() and len(which) <= MOST_DIGITS:
        found = session.scalar(mine.where(Model.name == name, Model.version == int(which)))
    else:
        alias = session.get(ModelAlias, (series_id(owner, name), which)) if name else None
        found = alias.model_id if alias is not None else None
    if found is not None:
        return found
    usable = mine.where(Model.name == reference, Model.status != UploadStatus.INVALID)
    return session.scalar(usable.order_by(Model.version.desc()).limit(1))
