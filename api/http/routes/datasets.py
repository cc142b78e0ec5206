"""Endpoints of datasets."""

from collections.abc import Sequence
from threading import Thread
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from sqlalchemy.orm import Session

from api.access.transactions import UnitOfWork
from api.errors import (
    BadRequest,
    BodyTooSlow,
    CrossSite,
    Gone,
    InUse,
    Invalid,
    NotFound,
    NotReady,
    PathNotAllowed,
    QuotaExceeded,
    RangeNotSatisfiable,
    StorageFull,
    TooLarge,
    UnknownReference,
    UnsupportedMediaType,
)
from api.http.dependencies import OF_JSON, IfNoneMatch, StorageDep, Work, json_only, refusals, remove_after, settings_of
from api.http.downloads import Download, hand_out
from api.http.idempotency import KEYED, Once, OnceDep, key_of, once_of_upload
from api.http.receiving import Upload, form_body, receiver
from api.http.routes.imports import Asked, look_at_bucket, look_at_folder
from api.http.routing import Route
from api.pagination import After, Limit, Page, Shared
from api.storage.media import media_type
from api.tables.datasets import Dataset
from api.tables.uploads import SUFFIXES as OF_KIND
from api.uploads.datasets import service, unpacked
from api.uploads.datasets.schemas import DatasetView
from api.uploads.service import register
from api.wake_ups import INSPECT
from rdrkd.spec import SHA256, Name

SUFFIXES = OF_KIND["dataset"]
receive = receiver(SUFFIXES, lambda settings: settings.max_dataset_bytes, dataset=True)
once = once_of_upload(receive)
_BYTES = {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}
_PREVIEW: dict[str, Any] = {
    "response_class": Response,
    "responses": {
        200: {"description": "the complete image", **_BYTES},
        206: {"description": "the requested range", **_BYTES},
        304: {"description": "the client's copy is current"},
        307: {"description": "redirect to a presigned URL of the bucket, valid for a short time"},
        **refusals(BadRequest, NotFound, NotReady, Gone, RangeNotSatisfiable),
    },
}
_IMPORTED = refusals(*OF_JSON, *KEYED, PathNotAllowed, UnknownReference, QuotaExceeded, StorageFull)
router = APIRouter(prefix="/datasets", tags=["datasets"], route_class=Route)


@router.post(
    "",
    status_code=202,
    operation_id="create_dataset",
    openapi_extra=form_body(SUFFIXES, "hit-uav", dataset=True),
    dependencies=[Depends(key_of)],  # first of all: a refused key must leave nothing in the store
    responses=refusals(
        BadRequest, CrossSite, BodyTooSlow, TooLarge, UnsupportedMediaType, *KEYED, QuotaExceeded, StorageFull
    ),
)
def create_dataset(
    upload: Annotated[Upload, Depends(receive)],
    once: Annotated[Once, Depends(once, scope="function")],
    work: Work,
    store: StorageDep,
    answer: Response,
) -> DatasetView:
    """Upload a dataset: a zip or tar in one of the supported layouts, such as YOLO, COCO JSON or VOC.

    The dataset is `checking` until a worker has inspected it, then `ready` or `invalid`. Jobs may refer to it at
    once, and wait. A name that exists gets a new version.
    """
    row = register(work, store, upload.stored, lambda session: _create(session, upload), upload.held)
    view = DatasetView.of(row)
    once.accepted(work.session, view, answer, view.links.self, "1")
    return view


@router.post(
    "/from-folder",
    status_code=202,
    operation_id="create_dataset_from_folder",
    dependencies=[Depends(key_of), Depends(json_only)],
    responses=_IMPORTED,
)
def create_dataset_from_folder(
    once: OnceDep, asked: Annotated[Asked, Depends(look_at_folder)], work: Work, answer: Response
) -> DatasetView:
    """Import a dataset from a folder on the server, below one of the folders that the operator allows.

    The dataset is `checking` while a worker copies and inspects the files; later changes to the folder have no effect.
    If the copy fails, `problems` says why.
    """
    return _announce(once, asked, work, answer)


@router.post(
    "/from-bucket",
    status_code=202,
    operation_id="create_dataset_from_bucket",
    dependencies=[Depends(key_of), Depends(json_only)],
    responses=_IMPORTED,
)
def create_dataset_from_bucket(
    once: OnceDep, asked: Annotated[Asked, Depends(look_at_bucket)], work: Work, answer: Response
) -> DatasetView:
    """Import a dataset from a bucket that the operator allows: the objects below a prefix, or an archive.

    A worker copies it, as from a folder.
    """
    return _announce(once, asked, work, answer)


def _announce(once: Once, asked: Asked, work: UnitOfWork, answer: Response) -> DatasetView:
    source = asked.source
    row = service.announce(work.session, asked.where, source.filename, source.size, asked.name, asked.words)
    work.ring(INSPECT, row.id)
    view = DatasetView.of(row)
    once.accepted(work.session, view, answer, view.links.self, "1")
    return view


def _create(session: Session, upload: Upload) -> Dataset:
    return service.create(session, upload.stored, upload.filename, upload.name, upload.words)


@router.get("", operation_id="list_datasets", responses=refusals(Invalid))
def list_datasets(
    work: Work,
    limit: Annotated[Limit, Query()] = 20,
    after: Annotated[After, Query()] = None,
    name: Annotated[Name | None, Query(description="exact name: its versions")] = None,
    sha256: Annotated[str | None, Query(pattern=SHA256, description="of the uploaded file")] = None,
    shared: Annotated[Shared, Query()] = None,
) -> Page[DatasetView]:
    """List datasets, newest first."""
    return _page(*service.newest(work.session, limit, after, name, sha256, shared))


@router.get("/{dataset_id}/versions", operation_id="list_dataset_versions", responses=refusals(NotFound, Invalid))
def list_dataset_versions(
    dataset_id: str,
    work: Work,
    limit: Annotated[Limit, Query()] = 20,
    after: Annotated[After, Query()] = None,
) -> Page[DatasetView]:
    """List the versions of a dataset's name, newest first."""
    return _page(*service.versions_of(work.session, dataset_id, limit, after))


def _page(rows: Sequence[Dataset], following: str | None) -> Page[DatasetView]:
    return Page(data=[DatasetView.of(row) for row in rows], has_more=following is not None, next=following)


@router.get("/{dataset_id}", operation_id="get_dataset", responses=refusals(NotFound))
def get_dataset(dataset_id: str, work: Work) -> DatasetView:
    """Return a dataset: its status, and what it contains or why it was rejected."""
    return DatasetView.of(service.get(work.session, dataset_id))


@router.head("/{dataset_id}/preview", operation_id="head_dataset_preview", **_PREVIEW)
@router.get("/{dataset_id}/preview", operation_id="get_dataset_preview", **_PREVIEW)
def get_dataset_preview(dataset_id: str, work: Work, request: Request, if_none_match: IfNoneMatch = None) -> Response:
    """Download a JPEG of some of a dataset's images with their boxes; boxes that evaluation ignores are crossed out."""
    row = service.with_preview(work.session, dataset_id)
    key, sha256, size = str(row.preview_key), str(row.preview_sha256), (row.preview_size or 0) - (row.album_size or 0)
    name = f"{dataset_id}-preview.jpg"
    return hand_out(
        request,
        Download(key, sha256, size, row.checked_at or row.created_at, name, media_type(key), "inline"),
        if_none_match,
    )


@router.delete(
    "/{dataset_id}",
    status_code=204,
    operation_id="delete_dataset",
    response_class=Response,
    responses={204: {"description": "deleted"}, **refusals(CrossSite, NotFound, InUse)},
)
def delete_dataset(dataset_id: str, request: Request, work: Work) -> Response:
    """Delete a dataset that no job and no study refers to, with its file and its unpacked copy."""
    sha256 = service.get(work.session, dataset_id).sha256
    remove_after(request, work, service.delete(work.session, dataset_id))
    if sha256 is not None and (gone := unpacked.unneeded(work.session, [sha256])):
        cache = settings_of(request).cache_dir
        # Many files: not in a thread that holds a place at the database.
        work.then(Thread(target=unpacked.remove, args=(cache, gone), name="unpacked", daemon=True).start)
    return Response(status_code=204)
