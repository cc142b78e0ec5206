"""What happens to models. Functions take the request's session and never commit."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from api import registration
from api.db import new_id
from api.models.tables import Model
from api.pages import get_or_404, page
from api.storage import Stored


def create(session: Session, stored: Stored, filename: str, name: str | None) -> Model:
    """Register a stored model file; a worker will check it. The same content twice is two rows on one file.

    Raises:
        QuotaExceeded: it is more than its owner may store.
    """
    row = Model(id=new_id("mdl"), name=name, filename=filename, key=stored.key, sha256=stored.sha256, size=stored.size)
    return registration.add(session, row)


def get(session: Session, model_id: str) -> Model:
    """Read one model.

    Raises:
        NotFound: there is none.
    """
    return get_or_404(session, Model, model_id)


def newest(session: Session, limit: int, after: str | None) -> tuple[Sequence[Model], str | None]:
    """Read one page of models, newest first, and the next cursor."""
    return page(session, select(Model), Model.id, limit, after)


def delete(session: Session, model_id: str) -> list[str]:
    """Delete a model that nothing names; give the notes of the files to remove once this is committed.

    Raises:
        NotFound: there is none.
        InUse: a job or a study names it.
    """
    return registration.delete(session, Model, model_id)
