"""Endpoints that share datasets and models with other owners."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from api.errors import CrossSite, Invalid, NotFound
from api.http.dependencies import Work, refusals
from api.http.routing import Route
from api.tables.datasets import Dataset
from api.tables.models import Model
from api.timestamps import Timestamp
from api.uploads import shares
from rdrkd.spec.forms import form

READER = form(
    r"^(\*|[A-Za-z0-9][A-Za-z0-9_.@-]{0,63})$",
    "an owner: up to 64 letters, digits, `_`, `.`, `@` and `-` that begin with a letter or digit; or `*` for everyone",
)
Reader = Annotated[str, Path(pattern=READER, description="an owner, or `*` for everyone", examples=["survey-team"])]
DELETED: dict[int | str, dict[str, Any]] = {204: {"description": "not shared (any more)"}}
router = APIRouter(route_class=Route)


class ShareView(BaseModel):
    """A share of a dataset or model."""

    reader: str = Field(description="an owner; `*`: everyone")
    created_at: Timestamp


class Shares(BaseModel):
    """The shares of a dataset or model, oldest first."""

    data: list[ShareView]


def _listed(session: Session, table: shares.Table, id_: str) -> Shares:
    rows = shares.readers_of(session, table, id_)
    return Shares(data=[ShareView(reader=row.reader, created_at=row.created_at) for row in rows])


@router.get("/datasets/{dataset_id}/shares", tags=["datasets"], operation_id="list_dataset_shares",
            responses=refusals(NotFound))  # fmt: skip
def list_dataset_shares(dataset_id: str, work: Work) -> Shares:
    """List with whom a dataset is shared; for its owner only."""
    return _listed(work.session, Dataset, dataset_id)


@router.put("/datasets/{dataset_id}/shares/{reader}", tags=["datasets"], operation_id="share_dataset",
            responses=refusals(CrossSite, NotFound, Invalid))  # fmt: skip
def share_dataset(dataset_id: str, reader: Reader, work: Work, request: Request) -> Shares:
    """Share a dataset with an owner or with everyone: they may read it and use it in jobs, but not change it.

    They do not see whose it is. It counts against its owner's quota only. At most 100 shares.
    """
    request.state.audited = f"{dataset_id}/{reader}"
    shares.share(work.session, Dataset, dataset_id, reader)
    return _listed(work.session, Dataset, dataset_id)


@router.delete("/datasets/{dataset_id}/shares/{reader}", tags=["datasets"], operation_id="unshare_dataset",
               status_code=204, response_class=Response,
               responses={**DELETED, **refusals(CrossSite, NotFound, Invalid)})  # fmt: skip
def unshare_dataset(dataset_id: str, reader: Reader, work: Work, request: Request) -> Response:
    """Stop sharing a dataset with an owner or with everyone. Jobs that are queued or paused keep it."""
    request.state.audited = f"{dataset_id}/{reader}"
    shares.unshare(work.session, Dataset, dataset_id, reader)
    return Response(status_code=204)


@router.get("/models/{model_id}/shares", tags=["models"], operation_id="list_model_shares",
            responses=refusals(NotFound))  # fmt: skip
def list_model_shares(model_id: str, work: Work) -> Shares:
    """List with whom a model is shared; for its owner only."""
    return _listed(work.session, Model, model_id)


@router.put("/models/{model_id}/shares/{reader}", tags=["models"], operation_id="share_model",
            responses=refusals(CrossSite, NotFound, Invalid))  # fmt: skip
def share_model(model_id: str, reader: Reader, work: Work, request: Request) -> Shares:
    """Share a model with an owner or with everyone: they may read it and use it in jobs, but not change it.

    They see neither whose it is nor its lineage and aliases. It counts against its owner's quota only.
    At most 100 shares.
    """
    request.state.audited = f"{model_id}/{reader}"
    shares.share(work.session, Model, model_id, reader)
    return _listed(work.session, Model, model_id)


@router.delete("/models/{model_id}/shares/{reader}", tags=["models"], operation_id="unshare_model",
               status_code=204, response_class=Response,
               responses={**DELETED, **refusals(CrossSite, NotFound, Invalid)})  # fmt: skip
def unshare_model(model_id: str, reader: Reader, work: Work, request: Request) -> Response:
    """Stop sharing a model with an owner or with everyone. Jobs that are queued or paused keep it."""
    request.state.audited = f"{model_id}/{reader}"
    shares.unshare(work.session, Model, model_id, reader)
    return Response(status_code=204)
