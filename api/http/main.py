"""The web app: its routers, middleware and error handlers."""

import logging
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, cast

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute

from api import migrations
from api.console.app import not_found as console_not_found
from api.console.app import routes as console_routes
from api.console.forwarding import PREFIX as THROUGH
from api.console.service import InProcess
from api.db import Database
from api.errors import (
    ApiError,
    BadRequest,
    BodyTooSlow,
    FieldError,
    InternalError,
    Invalid,
    MalformedJson,
    MethodNotAllowed,
    NotFound,
    StorageFull,
    TooLarge,
    Unauthorized,
    Unavailable,
)
from api.http import health, interactive
from api.http.accesslog import AccessLog
from api.http.admission import CONNECTIONS, Admission
from api.http.dependencies import refusals
from api.http.document import document, methods_of
from api.http.guard import MAX_BODY_BYTES, MAX_BODY_VALUES, Guard
from api.http.idempotency import REPLAYED, Replayed
from api.http.key_lookup import Lookup
from api.http.responses import problem_response
from api.http.routes import (
    artifacts,
    attempts,
    audit,
    caller,
    control,
    dataset_images,
    datasets,
    events,
    jobs,
    keys,
    ledger,
    logs,
    methods,
    metrics,
    model_registry,
    models,
    monitoring,
    shares,
    studies,
    validation,
    webhooks,
    workers,
)
from api.http.routes import resumable as uploads
from api.http.slow_bodies import TOO_SLOW
from api.http.versions import Versions
from api.http.watch import Watch
from api.settings import Settings
from api.storage import StorageUnreachable, open_storage
from api.uploads.ledger.reservations import Ledger
from api.wake_ups import Doorbell
from api.webhooks.resolver import Resolver
from api.webhooks.vault import Vault
from rdrkd import __version__
from rdrkd.process.secret_hiding import own_folder
from rdrkd.spec.problems import problems_of_errors, sentence

log = logging.getLogger(__name__)

# These limit their bodies themselves; with a slash: all below.
UPLOADS = ("/v1/datasets", "/v1/models", "/v1/uploads/", f"{THROUGH}/v1/uploads/")
DESCRIPTION = """Distil a large drone detector into a small one, with RDR-KD.

Upload a dataset and a teacher, queue a job, follow it, download the student. Errors are problem documents (RFC 9457)
whose `code` is stable. All AP and mAP figures are in percent."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """Make the app.

    Raises:
        pydantic.ValidationError: the settings in the environment are wrong.
        ValueError: the token's settings are.
    """
    settings = settings or Settings()
    app = FastAPI(
        title="RDR-KD",
        version=__version__,
        description=DESCRIPTION,
        license_info={"name": "AGPL-3.0-only", "identifier": "AGPL-3.0-only"},
        lifespan=_lifespan,
        redirect_slashes=False,
        docs_url=None,  # served by `api.http.interactive`, without a CDN
        redoc_url=None,
        telemetry={"metrics": False, "logs": False, "auto_configure": False},  # `api.tracing` says where spans go
    )
    app.state.settings = settings
    app.state.database = Database(settings.database_url, admitted=CONNECTIONS)
    app.state.admission = Admission(app.state.database)
    app.state.storage = open_storage(settings)
    app.state.ledger = Ledger(app.state.database, app.state.storage)
    app.state.doorbell = Doorbell(settings.broker_url)
    app.state.resolver = Resolver()
    app.state.vault = Vault(settings)
    app.state.versions = Versions(app.state.database, app.state.admission)
    app.state.watch = Watch(app.state.database, app.state.admission, settings.max_waiting)
    app.state.keys = lookup = Lookup(app.state.database, app.state.admission)
    app.add_middleware(
        Guard,
        settings=settings,
        token=settings.read_token(),
        local_token=settings.read_local_token(),
        keys=lookup,
        uploads=UPLOADS,
        admission=app.state.admission,
    )
    app.add_middleware(AccessLog)
    app.include_router(health.probes)
    app.include_router(interactive.docs)
    if settings.console:
        console = InProcess(app)
        app.router.routes.extend(console_routes(console, app.state.vault))
        app.state.not_found = console_not_found(console, app.state.vault)
    else:
        app.include_router(interactive.home)
    app.router.routes.extend(_v1_routes())
    app.add_exception_handler(ApiError, _on_api_error)
    app.add_exception_handler(Replayed, _on_replayed)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_error)
    for lost in (OperationalError, PoolTimeout):
        app.add_exception_handler(lost, _on_lost_database)
    app.add_exception_handler(StorageUnreachable, _on_lost_storage)
    app.openapi = lambda: document(app)  # type: ignore[method-assign]
    return app


@cache
def _v1_routes() -> tuple[BaseRoute, ...]:
    """Build the API's routes, which takes FastAPI a third of a second, once for all apps of a process."""
    router = APIRouter(prefix="/v1", responses=refusals(Unauthorized))
    for feature in (
        # Routers are tried in turn: first what clients that poll, and the console's pages, ask for.
        jobs,
        caller,
        attempts,
        artifacts,
        studies,
        datasets,
        models,
        dataset_images,
        model_registry,
        shares,
        uploads,
        validation,
        control,
        events,
        logs,
        metrics,
        workers,
        methods,
        webhooks,
        keys,
        audit,
        monitoring,
        ledger,
        health,
    ):
        router.include_router(feature.router)
    built = APIRouter()
    built.include_router(router)
    return tuple(built.routes)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings: Settings = app.state.settings
    own_folder(settings.data_dir)
    if settings.migrate_on_start:
        migrations.upgrade(settings.database_url)
    app.state.storage.sweep()
    yield
    await app.state.watch.stop()
    await app.state.keys.stop()
    app.state.admission.close()
    app.state.database.engine.dispose()


async def _on_api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return problem_response(error, request.state.request_id)


async def _on_replayed(request: Request, error: Exception) -> Response:
    assert isinstance(error, Replayed)
    answer = error.answer
    return Response(answer.body, answer.status, {**answer.headers, REPLAYED: "true"}, "application/json")


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problem_response(_invalid(error.errors(), error.body), request.state.request_id)


async def _on_http_error(request: Request, error: Exception) -> Response:
    """Map FastAPI's and Starlette's own errors: unknown address, wrong method, too large, unreadable."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    page = getattr(request.app.state, "not_found", None)
    if error.status_code == 404 and page and _is_browser(request) and not path.startswith(("/v1/", f"{THROUGH}/")):
        return cast("Response", await page(request))
    by_status: dict[int, ApiError] = {
        400: BadRequest("expected a body that can be read, got another"),
        404: NotFound(f"expected an address of this service, got {path}"),
        405: MethodNotAllowed(f"{path} does not take {request.method}", headers=_allowed(request) or error.headers),
        TOO_SLOW: _too_slow(request),
        413: TooLarge(f"expected a body of at most {MAX_BODY_BYTES} bytes and {MAX_BODY_VALUES} values, got more"),
    }
    known = by_status.get(error.status_code) or InternalError(f"an unforeseen status, {error.status_code}")
    return problem_response(known, request.state.request_id)


def _is_browser(request: Request) -> bool:
    return request.method == "GET" and "text/html" in request.headers.get("accept", "")


def _too_slow(request: Request) -> ApiError:
    settings: Settings = request.app.state.settings
    return BodyTooSlow(
        f"expected a body of at least {settings.body_bytes_per_second} bytes a second that never pauses for "
        f"{settings.body_seconds:g} s, got less",
        headers={"Connection": "close"},
    )


def _allowed(request: Request) -> dict[str, str]:
    """Return an Allow header with all methods of an address: the router's lists only its first route."""
    methods = methods_of(request.app, request.url.path)
    return {"Allow": ", ".join(methods)} if methods else {}


async def _on_lost_database(request: Request, error: Exception) -> Response:
    log.error("the database does not respond: %s", error)
    if getattr(getattr(error, "orig", None), "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        full = StorageFull("expected room for the database, got a full disk")
        return problem_response(full, request.state.request_id)
    return problem_response(Unavailable("expected a response from the database, got none"), request.state.request_id)


async def _on_lost_storage(request: Request, error: Exception) -> Response:
    log.error("the file store does not respond: %s", error)
    return problem_response(Unavailable("expected a file store that answers, got none"), request.state.request_id)


def _invalid(details: Sequence[dict[str, Any]], body: Any) -> ApiError:
    """Turn Pydantic's errors into one; fields of the body are identified by pointer, everything else by name."""
    if any(detail["type"] == "json_invalid" for detail in details):
        return MalformedJson(f"expected JSON, got something else: {details[0]['ctx']['error']}")
    of_body = [detail | {"loc": detail["loc"][1:]} for detail in details if detail["loc"][0] == "body"]
    fields = Invalid.at(*problems_of_errors(of_body, body)).errors
    fields += [
        FieldError(parameter=str(detail["loc"][1]), detail=sentence(detail))
        for detail in details
        if detail["loc"][0] != "body"
    ]
    return Invalid("; ".join(f"{f.pointer or f.parameter or 'the body'}: {f.detail}" for f in fields[:3]), fields)
