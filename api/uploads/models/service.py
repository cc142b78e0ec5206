"""The API's operations on models. Functions take the request's session and never commit."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.db import new_id
from api.errors import NotReady
from api.ownership import by_sharing
from api.pagination import get_or_404, page
from api.storage import Stored
from api.tables.models import Model, ModelAlias, ModelFile
from api.tables.uploads import UploadStatus
from api.uploads import service


def create(session: Session, stored: Stored, filename: str, name: str | None) -> Model:
    """Register a stored model file; a worker will check it. The same content twice is two rows on one file.

    Raises:
        QuotaExceeded: the owner's storage quota is exceeded.
    """
    row = Model(id=new_id("mdl"), name=name, filename=filename, key=stored.key, sha256=stored.sha256, size=stored.size)
    return service.add(session, row)


def get(session: Session, model_id: str) -> Model:
    """Read one model.

    Raises:
        NotFound: there is none.
    """
    return get_or_404(session, Model, model_id)


def newest(
    session: Session,
    limit: int,
    after: str | None,
    name: str | None = None,
    alias: str | None = None,
    sha256: str | None = None,
    shared: bool | None = None,
) -> tuple[Sequence[Model], str | None]:
    """Read one page of models, newest first, and the next cursor; the other arguments are filters."""
    query = by_sharing(session, select(Model), Model, shared)
    if name is not None:
        query = query.where(Model.name == name)
    if alias is not None:
        query = query.where(Model.id.in_(select(ModelAlias.model_id).where(ModelAlias.alias == alias)))
    if sha256 is not None:
        query = query.where(Model.sha256 == sha256)
    return page(session, query, Model.id, limit, after)


def file(session: Session, model_id: str, form: str) -> tuple[Model, ModelFile]:
    """Find a model's file in a format: the uploaded one, or one that its check has written.

    Raises:
        NotFound: there is no such model.
        NotReady: it is not checked yet, is invalid, or cannot be converted to this format.
    """
    row = get(session, model_id)
    if row.status != UploadStatus.READY:
        raise NotReady(f"expected a model that is ready, got one that is {row.status}")
    there = [own(row), *row.files]
    for each in there:
        if each.format == form:
            return row, each
    forms = ", ".join(each.format for each in there)
    raise NotReady(f"expected one of this model's formats ({forms}), got {form}: its check has not written it")


def own(row: Model) -> ModelFile:
    """Return the uploaded file, in the same form as the others."""
    form = row.key.rpartition(".")[2]
    return ModelFile(model_id=row.id, format=form, key=row.key, sha256=row.sha256, size=row.size)


def delete(session: Session, model_id: str) -> list[str]:
    """Delete a model that nothing refers to; return the records of the files to delete after the commit.

    Raises:
        NotFound: there is none.
        InUse: a job, a study or an alias refers to it.
    """
    return service.delete(session, Model, model_id)
