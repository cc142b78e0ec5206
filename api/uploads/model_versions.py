"""Models by name: each version once numbered, aliases that move, and both resolved to the one model that they mean.

A reference is `<name>@<alias>` or `<name>@<version>`. What is queued names the model's own id, so that an alias which
moves later changes no job.
"""

import hashlib
import re
from collections.abc import Mapping

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from api.db import now
from api.ownership import owner_of
from api.tables.models import Model, ModelAlias, ModelSeries
from rdrkd.spec import ModelRef, RegisteredModel
from rdrkd.spec.references import MODEL_ID


def series_id(owner: str | None, name: str) -> str:
    """Return the id of a name of an owner's models: the same for the same two."""
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
    """Let an alias mean this version from here on."""
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


def resolved(session: Session, references: Mapping[str, ModelRef]) -> dict[str, RegisteredModel]:
    """Return, by field, those references that name a model by alias or version, each as that model's id.

    A reference that no model answers to is left out.
    """
    named = {
        field: reference.model
        for field, reference in references.items()
        if isinstance(reference, RegisteredModel) and not re.fullmatch(MODEL_ID, reference.model)
    }
    found = {field: _meant(session, name) for field, name in named.items()}
    return {field: RegisteredModel(model=id_) for field, id_ in found.items() if id_ is not None}


def _meant(session: Session, reference: str) -> str | None:
    name, _, which = reference.rpartition("@")
    owner = owner_of(session)
    if which.isdecimal():
        same_owner = Model.owner.is_(None) if owner is None else Model.owner == owner
        found = select(Model.id).where(Model.name == name, Model.version == int(which), same_owner)
        return session.scalar(found)
    alias = session.get(ModelAlias, (series_id(owner, name), which))
    return alias.model_id if alias is not None else None
