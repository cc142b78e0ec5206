"""Liveness, readiness, version and source: addresses inside and outside /v1 that belong to no feature."""

import io
import logging
import tarfile
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from api import migrations
from api.errors import Unavailable
from api.http.dependencies import AdmissionDep, DatabaseDep, StorageDep, refusals
from api.storage import Storage, StorageUnreachable
from api.wake_ups import Doorbell
from rdrkd import __version__

log = logging.getLogger(__name__)

probes = APIRouter(tags=["service"])
router = APIRouter(tags=["service"])

PACKAGES = ("alembic", "celery", "fastapi", "kombu", "pydantic", "sqlalchemy", "starlette", "uvicorn")


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """The service can do its work; `degraded`: rows can be read and written, but what is `down` is missing.

    Without the broker, jobs start late, when a worker next polls the database.
    """

    status: Literal["ready", "degraded"]
    database: Literal["ok"] = "ok"
    broker: Literal["ok", "down"]
    storage: Literal["ok", "down"] = Field(description="`down`: no uploads, downloads or trainings until it recovers")


class Version(BaseModel):
    """The version, its licence, and where its source is."""

    name: str = "rdrkd"
    version: str
    licence: str = Field("AGPL-3.0-only", description="licence of the service")
    source: str = Field("/v1/source", description="source of the running service")
    revision: str | None = Field(description="revision of the database schema")
    packages: dict[str, str]


@probes.get("/healthz", operation_id="get_health", responses=refusals())
async def get_health() -> Health:
    """Return 200 while the process is alive."""
    return Health()


@probes.get("/readyz", operation_id="get_readiness", responses=refusals())
async def get_readiness(
    request: Request, database: DatabaseDep, storage: StorageDep, admission: AdmissionDep
) -> Readiness:
    """Return whether the service can handle requests: the database answers and has the current schema."""
    try:
        current = await admission.guard(partial(migrations.current, database.engine))
        newest = migrations.newest()
    except SQLAlchemyError as error:
        raise Unavailable("expected a response from the database, got none") from error
    if current != newest:
        raise Unavailable(f"expected a database at revision {newest}, got {current}: run `python -m api migrate`")
    doorbell: Doorbell = request.app.state.doorbell
    broker, store = await run_in_threadpool(doorbell.reachable), await run_in_threadpool(_usable, storage)
    return Readiness(
        status="ready" if broker and store else "degraded",
        broker="ok" if broker else "down",
        storage="ok" if store else "down",
    )


def _usable(storage: Storage) -> bool:
    try:
        storage.check()
    except StorageUnreachable as error:
        log.error("the file store does not respond: %s", error)
        return False
    return True


@router.get("/version", operation_id="get_version")
def get_version() -> Version:
    """Return the version, its licence, and where its source is."""
    return Version(version=__version__, revision=migrations.newest(), packages=_packages())


@router.get(
    "/source",
    operation_id="get_source",
    response_class=Response,
    responses={200: {"content": {"application/gzip": {"schema": {"type": "string", "format": "binary"}}}}},
)
def get_source() -> Response:
    """Download the source of the running service, with its changes: the AGPL grants it to every user."""
    headers = {"Content-Disposition": f'attachment; filename="rdrkd-{__version__}.tar.gz"'}
    return Response(_source(), media_type="application/gzip", headers=headers)


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def _source() -> bytes:
    root = Path(__file__).resolve().parents[2]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path in sorted(p for package in ("api", "rdrkd", "worker") for p in (root / package).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                archive.add(path, f"rdrkd-{__version__}/{path.relative_to(root)}", filter=_anonymous)
    return buffer.getvalue()


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
