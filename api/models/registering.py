"""The addresses of the registry: what jobs have trained as models, aliases, and each model's files."""

from pathlib import Path as FilePath
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Request, Response

from api.artifacts.endpoints import WEIGHTS_RESPONSES
from api.artifacts.media import OPAQUE
from api.dependencies import IfNoneMatch, StorageDep, Work, json_or_nothing, refusals, room
from api.downloads import Download, hand_out
from api.errors import (
    BadRequest,
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
from api.idempotency.once import KEYED, OnceDep
from api.models import registry, service
from api.models.schemas import Alias, ModelView, Registration
from api.receiving import NO_ROOM
from api.registration import register as registered
from api.responses import plain_name
from api.routing import Route
from api.storage import full_disk_told

router = APIRouter(tags=["models"], route_class=Route)

AliasPath = Annotated[Alias, Path(examples=["production"])]


@router.post(
    "/jobs/{job_id}/register",
    status_code=202,
    operation_id="register_job",
    dependencies=[Depends(json_or_nothing), Depends(room)],
    responses=refusals(
        BadRequest, MalformedJson, CrossSite, NotFound, NotReady, TooLarge, UnsupportedMediaType, *KEYED,
        QuotaExceeded, StorageFull, Gone,
    ),
)  # fmt: skip
def register(
    job_id: str, once: OnceDep, work: Work, store: StorageDep, answer: Response, body: Registration | None = None
) -> ModelView:
    """Make a model of a job's student: the next version of its name, with its lineage, whatever becomes of the job.

    A worker checks it as it does an upload; a job may name it at once, and waits.
    """
    asked = body or Registration()
    job, weights, name = registry.student(work.session, job_id, asked.name)
    with full_disk_told(NO_ROOM), TemporaryDirectory() as folder:
        here = store.fetch(weights.key, weights.sha256, FilePath(folder))
        if here is None:
            raise Gone(f"expected {weights.name} in the file store, got nothing sound there: it was removed")
        with here.open("rb") as stream:
            stored = store.put(stream, ".pt")
    row = registered(work, store, stored, lambda session: registry.create(session, job, name, stored, asked.aliases))
    work.session.refresh(row)
    view = ModelView.of(row)
    once.accepted(work.session, view, answer, view.links.self, "1")
    return view


@router.put(
    "/models/{model_id}/aliases/{alias}",
    operation_id="move_model_alias",
    responses=refusals(CrossSite, NotFound, NotReady, Invalid),
)
def move_alias(model_id: str, alias: AliasPath, work: Work) -> ModelView:
    """Let an alias of the model's name mean this version, whichever it meant before. What is queued stays as it is."""
    return ModelView.of(registry.move_alias(work.session, model_id, alias))


@router.delete(
    "/models/{model_id}/aliases/{alias}",
    status_code=204,
    operation_id="delete_model_alias",
    response_class=Response,
    responses={204: {"description": "forgotten"}, **refusals(CrossSite, NotFound, Invalid)},
)
def drop_alias(model_id: str, alias: AliasPath, work: Work) -> Response:
    """Forget an alias that means this version."""
    registry.drop_alias(work.session, model_id, alias)
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
def weights(
    model_id: str,
    work: Work,
    request: Request,
    format: Literal["pt", "safetensors"] = "pt",
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Download a model that is ready, in either format. Takes ranges and HEAD.

    As it was uploaded it comes byte by byte; the other format has been written by its check, in half precision.
    """
    row, file = service.file(work.session, model_id, format)
    version = f"-v{row.version}" if row.version is not None else ""
    filename = f"{plain_name(row.name or '') or row.id}{version}.{file.format}"
    at = row.checked_at or row.created_at
    return hand_out(request, Download(file.key, file.sha256, file.size, at, filename, OPAQUE), if_none_match)
