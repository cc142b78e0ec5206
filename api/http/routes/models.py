"""Endpoints of models."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from api.errors import (
    BadRequest,
    BodyTooSlow,
    CrossSite,
    InUse,
    Invalid,
    NotFound,
    QuotaExceeded,
    StorageFull,
    TooLarge,
    UnsupportedMediaType,
)
from api.http.dependencies import StorageDep, Work, refusals, remove_after
from api.http.idempotency import KEYED, Once, key_of, once_of_upload
from api.http.receiving import Upload, form_body, receiver
from api.http.routing import Route
from api.pagination import After, Limit, Page, Shared
from api.tables.uploads import SUFFIXES as OF_KIND
from api.uploads.models import service
from api.uploads.models.schemas import ModelView
from api.uploads.service import register
from rdrkd.spec import ALIAS, SHA256, Name

SUFFIXES = OF_KIND["model"]
receive = receiver(SUFFIXES, lambda settings: settings.max_model_bytes)
once = once_of_upload(receive)
router = APIRouter(prefix="/models", tags=["models"], route_class=Route)


@router.post(
    "",
    status_code=202,
    operation_id="create_model",
    openapi_extra=form_body(SUFFIXES, "yolov8l-visdrone"),
    dependencies=[Depends(key_of)],  # first of all: a refused key must leave nothing in the store
    responses=refusals(
        BadRequest, CrossSite, BodyTooSlow, TooLarge, UnsupportedMediaType, *KEYED, QuotaExceeded, StorageFull
    ),
)
def create_model(
    upload: Annotated[Upload, Depends(receive)],
    once: Annotated[Once, Depends(once, scope="function")],
    work: Work,
    store: StorageDep,
    answer: Response,
) -> ModelView:
    """Upload a model: an Ultralytics `.pt`, or a `.safetensors` that names its architecture.

    The model is `checking` until a worker has inspected it, then `ready` or `invalid`. Jobs may refer to it at
    once, and wait.
    """
    stored = upload.stored
    create = partial(service.create, stored=stored, filename=upload.filename, name=upload.name)
    row = register(work, store, stored, create, upload.held)
    view = ModelView.of(row)
    once.accepted(work.session, view, answer, view.links.self, "1")
    return view


@router.get("", operation_id="list_models", responses=refusals(Invalid))
def list_models(
    work: Work,
    limit: Annotated[Limit, Query()] = 20,
    after: Annotated[After, Query()] = None,
    name: Annotated[Name | None, Query(description="exact name: its versions")] = None,
    alias: Annotated[str | None, Query(pattern=ALIAS, description="alias, such as `production`")] = None,
    sha256: Annotated[str | None, Query(pattern=SHA256, description="of the uploaded file")] = None,
    shared: Annotated[Shared, Query()] = None,
) -> Page[ModelView]:
    """List models, newest first."""
    rows, following = service.newest(work.session, limit, after, name, alias, sha256, shared)
    return Page(data=[ModelView.of(row) for row in rows], has_more=following is not None, next=following)


@router.get("/{model_id}", operation_id="get_model", responses=refusals(NotFound))
def get_model(model_id: str, work: Work) -> ModelView:
    """Return a model: its status, and what it contains or why it was rejected."""
    return ModelView.of(service.get(work.session, model_id))


@router.delete(
    "/{model_id}",
    status_code=204,
    operation_id="delete_model",
    response_class=Response,
    responses={204: {"description": "deleted"}, **refusals(CrossSite, NotFound, InUse)},
)
def delete_model(model_id: str, request: Request, work: Work) -> Response:
    """Delete a model that no job, no study and no alias refers to, with its files."""
    remove_after(request, work, service.delete(work.session, model_id))
    return Response(status_code=204)
