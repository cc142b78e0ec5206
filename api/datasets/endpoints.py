"""The addresses of datasets."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api.datasets import service
from api.datasets.schemas import DatasetView
from api.dependencies import StorageDep, Work, refusals
from api.errors import (
    BadRequest,
    CrossSite,
    Invalid,
    NotFound,
    QuotaExceeded,
    StorageFull,
    TooLarge,
    UnsupportedMediaType,
)
from api.pages import After, Limit, Page
from api.queue import INSPECT
from api.receiving import Upload, form_body, receiver

SUFFIXES = (".zip",)
receive = receiver(SUFFIXES, lambda settings: settings.max_dataset_bytes)
router = APIRouter(prefix="/datasets", tags=["datasets"])


@router.post(
    "",
    status_code=202,
    operation_id="create_dataset",
    openapi_extra=form_body(SUFFIXES, "hit-uav"),
    responses=refusals(BadRequest, CrossSite, TooLarge, UnsupportedMediaType, Invalid, QuotaExceeded, StorageFull),
)
def create(upload: Annotated[Upload, Depends(receive)], work: Work, store: StorageDep, answer: Response) -> DatasetView:
    """Upload a dataset: a zip in YOLO layout, optionally with COCO annotations.

    The answer is `checking`; a worker then inspects the file and makes it `ready` or `invalid`. A job may name it at
    once, and waits.
    """
    if upload.stored.new:
        work.undo(lambda: store.delete(upload.stored.key))
    row = service.create(work.session, upload.stored, upload.filename, upload.name)
    work.ring(INSPECT, row.id)
    view = DatasetView.of(row)
    answer.headers["Location"] = view.links.self
    answer.headers["Retry-After"] = "1"
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
