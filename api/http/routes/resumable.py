"""Endpoints of uploads in pieces: tus 1.0.0, with its extensions creation, expiration and termination."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from api.errors import (
    BadRequest,
    BodyTooSlow,
    CrossSite,
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
from api.http.dependencies import SettingsDep, StorageDep, Work, refusals
from api.http.idempotency import KEYED, Once, once_of_headers
from api.http.routes import resumable_headers
from api.http.routes.resumable_piece import MEDIA_TYPE, whole_after_piece
from api.http.routing import Route
from api.storage.partial_uploads import Partial
from api.tables.resumable import ResumableUpload
from api.uploads.ledger.service import check_room
from api.uploads.resumable import service
from api.uploads.resumable.announcement import HEADER, Announcement
from api.uploads.resumable.completion import complete
from api.uploads.resumable.schemas import UploadView

router = APIRouter(prefix="/uploads", tags=["uploads"], route_class=Route)
once = once_of_headers(resumable_headers.LENGTH, HEADER)


def _header(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": True, "schema": schema, "description": description}


_ANNOUNCED = [
    _header(resumable_headers.LENGTH, {"type": "integer", "minimum": 1}, "size of the whole file, bytes"),
    _header(
        HEADER,
        {"type": "string"},
        "`key base64,...`: `kind` (dataset or model) and `filename`; optional `name`, `sha256`, `lenient`, `keep`, "
        "`divide`",
    ),
]
_READ = refusals(UnknownProtocol, NotFound, Gone)
_PIECE = {
    "parameters": [
        _header("Upload-Offset", {"type": "integer", "minimum": 0}, "offset of the piece in the file, bytes")
    ],
    "requestBody": {"required": True, "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}},
}


@router.options("", status_code=204, operation_id="get_upload_protocol", response_class=Response, responses=refusals())
def get_upload_protocol(settings: SettingsDep) -> Response:
    """Return the supported tus version and the largest accepted file, in headers."""
    most = max(settings.max_dataset_bytes, settings.max_model_bytes)
    return Response(status_code=204, headers={**resumable_headers.OPTIONS, "Tus-Max-Size": str(most)})


@router.post(
    "",
    status_code=201,
    operation_id="create_upload",
    openapi_extra={"parameters": _ANNOUNCED},
    responses=refusals(
        BadRequest, CrossSite, UnknownProtocol, TooLarge, Invalid, *KEYED[1:], QuotaExceeded, StorageFull
    ),
)
def create_upload(
    request: Request,
    once: Annotated[Once, Depends(once, scope="function")],
    work: Work,
    store: StorageDep,
    settings: SettingsDep,
    answer: Response,
) -> UploadView:
    """Announce a resumable upload: send its pieces by PATCH to `Location`; it becomes a dataset or a model."""
    resumable_headers.version_of(request)
    file = Announcement.read(request.headers.get(HEADER, ""))
    most = {"dataset": settings.max_dataset_bytes, "model": settings.max_model_bytes}[file.kind]
    row = service.announce(work.session, file, resumable_headers.length_of(request, most))
    check_room(work.session, store, settings.min_free_bytes, more=row.length)
    arriving = Partial(store, row.id)
    work.undo(arriving.remove)
    arriving.create()
    answer.headers.update(resumable_headers.state_of(row, arriving, 0) | {"Location": f"/v1/uploads/{row.id}"})
    view = UploadView.of(row, 0)
    once.keep(work.session, view, answer, 201)
    return view


@router.head("/{upload_id}", operation_id="head_upload", response_class=Response, responses=_READ)
def head_upload(upload_id: str, request: Request, work: Work, store: StorageDep) -> Response:
    """Return an upload's progress in headers: `Upload-Offset` is where the next piece begins."""
    answer = Response()
    get_upload(upload_id, request, work, store, answer)
    return answer


@router.get("/{upload_id}", operation_id="get_upload", responses=_READ)
def get_upload(upload_id: str, request: Request, work: Work, store: StorageDep, answer: Response) -> UploadView:
    """Return an upload's progress: `Upload-Offset` is where the next piece begins.

    If `Upload-Offset` is at the end but `Upload-Result` is missing, the last request failed after its last byte: an
    empty piece completes the upload at once, the service itself does so within minutes.
    """
    resumable_headers.version_of(request)
    service.check_id(upload_id)
    arriving = Partial(store, upload_id)
    there = arriving.size()
    return _shown(service.get(work.session, upload_id), arriving, there, answer)


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
        BodyTooSlow,
        TooLarge,
        UnsupportedMediaType,
        Invalid,
        QuotaExceeded,
        StorageFull,
    ),
)
def append_to_upload(
    upload_id: str,
    whole: Annotated[str | None, Depends(whole_after_piece)],
    work: Work,
    store: StorageDep,
    answer: Response,
) -> UploadView:
    """Send a piece. Bytes that arrive before a dropped connection stay; the last byte creates the dataset or model.

    An empty piece at the end completes an upload whose last request failed after its last byte.
    """
    arriving = Partial(store, upload_id)
    there = arriving.size()
    row = service.get(work.session, upload_id)
    if whole is not None and there is not None and not row.created:
        complete(work, store, row, whole, arriving)
    return _shown(row, arriving, there, answer)


@router.delete(
    "/{upload_id}",
    status_code=204,
    operation_id="delete_upload",
    response_class=Response,
    responses=refusals(CrossSite, UnknownProtocol, NotFound),
)
def delete_upload(upload_id: str, request: Request, work: Work, store: StorageDep) -> Response:
    """Abort an upload and delete what has arrived. The dataset or model of a complete upload remains."""
    resumable_headers.version_of(request)
    row = service.get(work.session, upload_id)
    work.session.delete(row)
    work.then(Partial(store, row.id).remove)
    return Response(status_code=204, headers=resumable_headers.OF_ALL)


def _shown(row: ResumableUpload, arriving: Partial, there: int | None, answer: Response) -> UploadView:
    """Show how far an upload is, in the answer's headers, too.

    Args:
        row: its row, read after `there`: whoever completes an upload removes the file after its commit.
        arriving: its file.
        there: how many bytes of it have come; None where it is gone.
        answer: gets the headers.

    Raises:
        Gone: the upload was abandoned.
    """
    offset = row.length if row.created else there
    if offset is None:
        raise Gone("expected an active upload, got an aborted one: start a new upload")
    answer.headers.update(resumable_headers.state_of(row, arriving, offset))
    return UploadView.of(row, offset)
