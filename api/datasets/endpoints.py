"""The addresses of datasets."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from api.datasets import service
from api.datasets.schemas import DatasetView
from api.dependencies import StorageDep, Work, refusals, remove_after
from api.errors import (
    BadRequest,
    CrossSite,
    InUse,
    Invalid,
    NotFound,
    QuotaExceeded,
    StorageFull,
    TooLarge,
    UnsupportedMediaType,
)
from api.idempotency.once import KEYED, Once, key_of, once_of_upload
from api.pages import After, Limit, Page
from api.receiving import Upload, form_body, receiver
from api.registration import register
from api.uploads import SUFFIXES as OF_KIND

SUFFIXES = OF_KIND["dataset"]
receive = receiver(SUFFIXES, lambda settings: settings.max_dataset_bytes)
once = once_of_upload(receive)
router = APIRouter(prefix="/datasets", tags=["datasets"])


@router.post(
    "",
    status_code=202,
    operation_id="create_dataset",
    openapi_extra=form_body(SUFFIXES, "hit-uav"),
    dependencies=[Depends(key_of)],  # first of all: a refused key must leave nothing in the store
    responses=refusals(BadRequest, CrossSite, TooLarge, UnsupportedMediaType, *KEYED, QuotaExceeded, StorageFull),
)
def create(
    upload: Annotated[Upload, Depends(receive)],
    once: Annotated[Once, Depends(once, scope="function")],
    work: Work,
    store: StorageDep,
    answer: Response,
) -> DatasetView:
    """Upload a dataset: a zip in YOLO layout, optionally with COCO annotations.

    The answer is `checking`; a worker then inspects the file and makes it `ready` or `invalid`. A job may name it at
    once, and waits.
    """
    stored = upload.stored
    row = register(work, store, stored, lambda session: service.create(session, stored, upload.filename, upload.name))
    view = DatasetView.of(row)
    answer.headers["Location"] = view.links.self
    answer.headers["Retry-After"] = "1"
    once.keep(work.session, view, answer)
    return view


@router.get("", operation_id="list_datasets", responses=refusals(Invalid))
def newest(
    work: Work, limit: Annotated[Limit, Query()] = 20, after: Annotated[After, Query()] = None
) -> Page[DatasetView]:
    """List the datasets, newest first."""
    rows, following = service.newest(work.session, limit, after)
    return Page(data=[DatasetView.of(row) for row in rows], has_more=following is not None, next=following)


@router.get("/{dataset_id}", operation_id="get_dataset", responses=refusals(NotFound))
def get(dataset_id: str, work: Work) -> DatasetView:
    """Read one dataset: its status, and why it was refused or what it holds."""
    return DatasetView.of(service.get(work.session, dataset_id))


@router.delete(
    "/{dataset_id}",
    status_code=204,
    operation_id="delete_dataset",
    response_class=Response,
    responses={204: {"description": "deleted"}, **refusals(CrossSite, NotFound, InUse)},
)
def delete(dataset_id: str, request: Request, work: Work) -> Response:
    """Delete a dataset that no job and no study names, with its file."""
    remove_after(request, work, service.delete(work.session, dataset_id))
    return Response(status_code=204)
