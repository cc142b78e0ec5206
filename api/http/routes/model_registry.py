"""Endpoints of the registry: what jobs have trained as models, aliases, and each model's files."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi import Path as PathParameter
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from api.errors import (
    BadRequest,
    BodyTooSlow,
    CrossSite,
    Gone,
    Invalid,
    MalformedJson,
    NotFound,
    NotReady,
    QuotaExceeded,
    StorageFull,
    TooLarge,
    UnsupportedMediaType,
)
from api.http.dependencies import (
    IfNoneMatch,
    StorageDep,
    Work,
    at_database,
    json_or_nothing,
    reading,
    refusals,
    settings_of,
    storage_of,
)
from api.http.downloads import Download, hand_out
from api.http.idempotency import KEYED, OnceDep
from api.http.receiving import NO_ROOM
from api.http.reserving import Reserving
from api.http.responses import plain_name
from api.http.routes.artifacts import WEIGHTS_RESPONSES
from api.http.routing import Route
from api.jobs import model_registration
from api.storage import Storage, Stored, full_disk_reported
from api.storage.media import OPAQUE
from api.tables.jobs import Artifact
from api.tables.models import Model
from api.uploads.ledger.reservations import Held
from api.uploads.ledger.service import check_room
from api.uploads.models import service
from api.uploads.models.schemas import Alias, ModelView, Registration
from api.uploads.service import register as registered

router = APIRouter(tags=["models"], route_class=Route)


@dataclass(frozen=True)
class Copied:
    """A job's student as an upload in the store, and what is reserved for it."""

    job_id: str
    asked: Registration
    stored: Stored
    held: Held


async def copied(request: Request, job_id: str, body: Registration | None = None) -> AsyncIterator[Copied]:
    """Copy a job's student, before the request's transaction begins: that must not stand open meanwhile.

    Raises:
        NotFound, NotReady, Invalid: as `registry.student`.
        QuotaExceeded, StorageFull: there is no room for it.
        Gone: its file is not there.
    """
    asked, store = body or Registration(), storage_of(request)

    def find() -> tuple[str | None, Artifact]:
        with reading(request)() as session:
            check_room(session, store, settings_of(request).min_free_bytes)
            job, weights, _ = model_registration.student(session, job_id, asked.name)
            return job.owner, weights

    owner, weights = await at_database(request, find, write=False)
    with full_disk_reported(NO_ROOM), store.incoming() as incoming:
        room = Reserving(request, owner, incoming.name)
        try:
            await room.cover(weights.size)
            stored = await run_in_threadpool(_copy, store, weights, store.incoming_path(incoming.name))
            yield Copied(job_id, asked, stored, room.held)
        finally:
            await room.release()


def _copy(store: Storage, weights: Artifact, path: Path) -> Stored:
    if not store.copy_to(weights.key, weights.sha256, path):
        raise Gone(f"expected {weights.name} in the file store, but it has been removed or is damaged")
    return store.adopt(path, weights.sha256, ".pt")


AliasPath = Annotated[Alias, PathParameter(examples=["production"])]


@router.post(
    "/jobs/{job_id}/register",
    status_code=202,
    operation_id="register_job",
    dependencies=[Depends(json_or_nothing)],
    responses=refusals(
        BadRequest, MalformedJson, CrossSite, NotFound, NotReady, BodyTooSlow, TooLarge, UnsupportedMediaType, *KEYED,
        QuotaExceeded, StorageFull, Gone,
    ),
)  # fmt: skip
def register_job(
    once: OnceDep, copied: Annotated[Copied, Depends(copied)], work: Work, store: StorageDep, answer: Response
) -> ModelView:
    """Register a job's student as a model: the next version of a name, with its lineage, independent of the job.

    A worker checks it like an upload. Jobs may refer to it at once, and wait.
    """
    stored, aliases = copied.stored, copied.asked.aliases

    def create(session: Session) -> Model:
        job, _, name = model_registration.student(session, copied.job_id, copied.asked.name)
        return model_registration.create(session, job, name, stored, aliases)

    row = registered(work, store, stored, create, copied.held)
    work.session.refresh(row)
    view = ModelView.of(row)
    once.accepted(work.session, view, answer, view.links.self, "1")
    return view


@router.put(
    "/models/{model_id}/aliases/{alias}",
    operation_id="move_model_alias",
    responses=refusals(CrossSite, NotFound, NotReady, Invalid),
)
def move_model_alias(model_id: str, alias: AliasPath, work: Work) -> ModelView:
    """Move an alias of the model's name to this version. Jobs that are already queued are unaffected."""
    return ModelView.of(model_registration.move_alias(work.session, model_id, alias))


@router.delete(
    "/models/{model_id}/aliases/{alias}",
    status_code=204,
    operation_id="delete_model_alias",
    response_class=Response,
    responses={204: {"description": "deleted"}, **refusals(CrossSite, NotFound, Invalid)},
)
def delete_model_alias(model_id: str, alias: AliasPath, work: Work) -> Response:
    """Remove an alias from this version."""
    model_registration.drop_alias(work.session, model_id, alias)
    return Response(status_code=204)


@router.head(
    "/models/{model_id}/weights",
    operation_id="head_model_weights",
    response_class=Response,
    responses=WEIGHTS_RESPONSES,
)
@router.get(
    "/models/{model_id}/weights",
    operation_id="get_model_weights",
    response_class=Response,
    responses=WEIGHTS_RESPONSES,
)
def get_model_weights(
    model_id: str,
    work: Work,
    request: Request,
    format: Literal["pt", "safetensors"] = "pt",
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Download a ready model in either format. Supports ranges and HEAD.

    The uploaded format is served byte for byte; the check wrote the other one, in half precision.
    """
    row, file = service.file(work.session, model_id, format)
    version = f"-v{row.version}" if row.version is not None else ""
    filename = f"{plain_name(row.name or '') or row.id}{version}.{file.format}"
    at = row.checked_at or row.created_at
    return hand_out(request, Download(file.key, file.sha256, file.size, at, filename, OPAQUE), if_none_match)
