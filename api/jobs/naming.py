"""Resolve references typed by users: an id, a unique prefix of one, or a name."""

import re
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.tables.datasets import Dataset
from api.tables.models import Model
from api.uploads import model_versions
from api.uploads.datasets import versions

FEW = 4  # ids to show if several match
LONGEST = 300  # characters of a name with an alias
_BEGINNING = re.compile(r"[a-z]+_[0-9a-f]{1,31}")


def meant(session: Session, table: Any, text: str) -> list[str]:
    """Return the ids of the caller's objects that a text may refer to: one, none, or the newest of several.

    The name of a dataset or model refers to one of its versions, as in specs; names of other objects must be unique.
    """
    if not text.isprintable() or len(text) > LONGEST:
        return []
    newest = select(table.id).order_by(table.id.desc()).limit(FEW)
    if _BEGINNING.fullmatch(text):
        found = session.scalars(newest.where(table.id.startswith(text, autoescape=True))).all()
        if found:
            return list(found)
    if table is Dataset:
        dataset = versions.named(session, text)
        return [dataset.id] if dataset is not None else []
    if table is Model:
        model = model_versions.named(session, text)
        return [model] if model is not None else []
    return list(session.scalars(newest.where(table.name == text)).all())
