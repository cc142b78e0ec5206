"""The addresses of uploads in pieces: tus 1.0.0, with its extensions creation, expiration and termination."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from api.dependencies import SettingsDep, StorageDep, Work, refusals
from api.errors import (
    BadRequest,
    CrossSite,
    FieldError,
    Gone,
    Invalid,
    NotFound,
    QuotaExceeded,
    StorageFull,
    TooLarge,
    UnknownProtocol,
    UnsupportedMediaType,
    UploadBusy,
    WrongOffset,
)
from api.idempotency.once import KEYED, Once, once_of_headers
from api.ledger.service import check_room
from api.partials import Partial
from api.registration import register
from api.resumable import headers, service
from api.resumable.announcement import HEADER, Announcement
from api.resumable.piece import MEDIA_TYPE, whole, whole_after_piece
from api.resumable.schemas import UploadView
from api.resumable.tables import ResumableUpload
from api.routing import Route
from api.storage import Storage
from api.transactions import UnitOfWork

router = APIRouter(prefix="/uploads", tags=["uploads"], route_class=Route)
Whole = Annotated[str | None, Depends(whole)]
once = once_of_headers(headers.LENGTH, HEADER)


def _header(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": True, "schema": schema, "description": description}


_ANNOUNCED = [
    _header(headers.LENGTH, {"type": "integer", "minimum": 1}, "bytes of the whole file"),
    _header(
        HEADER,
        {"type": "string"},
        "`key base64,...`: kind (dataset or model), filename; name, sha256, lenient if wished",
    ),
]
_READ = refusals(UnknownProtocol, NotFound, Gone, Invalid)
_PIECE = {
    "parameters": [_header("Upload-Offset", {"type": "integer", "minimum": 0}, "where the piece begins, bytes")],
    "requestBody": {"required": True, "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}},
}


@router.options("", status_code=204, operation_id="get_upload_protocol", response_class=Response, responses=refusals())
def protocol(settings: SettingsDep) -> Response:
    """Say which version of tus is spoken here, and how large a file may be."""
    most = max(settings.max_dataset_bytes, settings.max_model_bytes)
    return Response(status_code=204, headers={**headers.OPTIONS, "Tus-Max-Size": str(most)})


@router.post(
    "",
    status_code=201,
    operation_id="create_upload",
    openapi_extra={"parameters": _ANNOUNCED},
    responses=refusals(
        BadRequest, CrossSite, UnknownProtocol, TooLarge, Invalid, *KEYED[1:], QuotaExceeded, StorageFull
    ),
)
def create(
    request: Request,
    once: Annotated[Once, Depends(once, scope="function")],
    work: Work,
    store: StorageDep,
    settings: SettingsDep,
    answer: Response,
) -> UploadView:
    """Announce a file; its pieces go to the address in `Location` by PATCH, and it becomes a dataset or a model."""
    headers.version_of(request)
    file = Announcement.read(request.headers.get(HEADER, ""))
    most = {"dataset": settings.max_dataset_bytes, "model": settings.max_model_bytes}[file.kind]
    row = service.announce(work.session, file, headers.length_of(request, most))
    check_room(work.session, store, settings.min_free_bytes, more=row.length)
    arriving = Partial(store, row.id)
    work.undo(arriving.remove)
    arriving.create()
    answer.headers.update(headers.state_of(row, arriving, 0) | {"Location": f"/v1/uploads/{row.id}"})
    view = UploadView.of(row, 0)
    once.keep(work.session, view, answer, 201)
    return view


@router.head("/{upload_id}", operation_id="head_upload", response_class=Response, responses=_READ)
def head(upload_id: str, whole: Whole, work: Work, store: StorageDep) -> Response:
    """Say how far an upload is, in headers alone: `Upload-Offset` is where the next piece begins."""
    answer = Response()
    _shown(upload_id, whole, work, store, answer)
    return answer


@router.get("/{upload_id}", operation_id="get_upload", responses=_READ)
def get(upload_id: str, whole: Whole, work: Work, store: StorageDep, answer: Response) -> UploadView:
    """Say how far an upload is: `Upload-Offset` is where the next piece begins."""
    return _shown(upload_id, whole, work, store, answer)


@router.patch(
    "/{upload_id}",
    operation_id="append_to_upload",
    openapi_extra=_PIECE,
    responses=refusals(
        BadRequest,
        CrossSite,
        NotFound,
        Gone,
        WrongOffset,
        UploadBusy,
        UnknownProtocol,
        TooLarge,
        UnsupportedMediaType,
        Invalid,
        QuotaExceeded,
        StorageFull,
    ),
)
def append(
    upload_id: str,
    whole: Annotated[str | None, Depends(whole_after_piece)],
    work: Work,
    store: StorageDep,
    answer: Response,
) -> UploadView:
    """Send a piece. What arrives before a connection breaks stays; the last byte makes a dataset or model of it."""
    return _shown(upload_id, whole, work, store, answer)


@router.delete(
    "/{upload_id}",
    status_code=204,
    operation_id="delete_upload",
    response_class=Response,
    responses=refusals(CrossSite, UnknownProtocol, NotFound),
)
def delete(upload_id: str, request: Request, work: Work, store: StorageDep) -> Response:
    """Give an upload up: what has come is removed. What a complete one became stays."""
    headers.version_of(request)
    row = service.get(work.session, upload_id)
    work.session.delete(row)
    work.then(Partial(store, row.id).remove)
    return Response(status_code=204, headers=headers.OF_ALL)


def _shown(upload_id: str, whole: str | None, work: UnitOfWork, store: Storage, answer: Response) -> UploadView:
    """Say how far an upload is. One whose last byte has come is completed first, also after a crash at that point."""
    arriving = Partial(store, upload_id)
    there = arriving.size()  # before the row: whoever completes an upload removes the file after its commit
    row = service.get(work.session, upload_id)
    offset = row.length if row.created else there
    if offset is None:
        raise Gone("expected an upload that goes on, got one that was abandoned: begin anew")
    if whole is not None and not row.created:
        _complete(row, whole, arriving, work, store)
    answer.headers.update(headers.state_of(row, arriving, offset))
    return UploadView.of(row, offset)


def _complete(row: ResumableUpload, sha256: str, arriving: Partial, work: UnitOfWork, store: Storage) -> None:
    file = Announcement.model_validate(row, from_attributes=True)
    if row.sha256 not in (None, sha256):
        arriving.remove()
        work.undo(partial(service.give_up, work.database, row.id))
        detail = f"expected a file with the sha256 {row.sha256}, got one with {sha256}: it was damaged on its way"
        raise Invalid(detail, [FieldError(parameter=HEADER, detail=detail)])
    if not service.claim(work.session, row):
        return
    stored = arriving.keep(sha256, file.suffix)
    register(work, store, stored, lambda session: service.create(session, row, stored))
    work.then(arriving.remove)
