"""The endpoints' dependencies as types, and the documentation of their errors."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, Request, Response
from sqlalchemy.orm import Session

from api.access import audit
from api.access.quotas import Quotas
from api.access.transactions import UnitOfWork, act_for
from api.caller import READING, Caller
from api.db import Database
from api.errors import (
    ApiError,
    BadRequest,
    BodyTooSlow,
    CrossSite,
    HeadersTooLarge,
    HostNotAllowed,
    InternalError,
    LoopbackOnly,
    MalformedJson,
    Overloaded,
    TooLarge,
    Unavailable,
    UnsupportedMediaType,
)
from api.http.admission import Admission
from api.http.versions import Versions
from api.http.watch import Watch
from api.settings import Settings
from api.storage import Storage
from api.storage.deletions import follow_all
from api.uploads.ledger.service import check_room
from api.wake_ups import Doorbell

Read = Callable[[], AbstractContextManager[Session]]


def settings_of(request: Request) -> Settings:
    """Return the settings that the app was made with."""
    settings: Settings = request.app.state.settings
    return settings


def database_of(request: Request) -> Database:
    """Return the app's database."""
    database: Database = request.app.state.database
    return database


def storage_of(request: Request) -> Storage:
    """Return the app's file store."""
    storage: Storage = request.app.state.storage
    return storage


def watch_of(request: Request) -> Watch:
    """Return the watch, which reports writes to jobs."""
    watch: Watch = request.app.state.watch
    return watch


def versions_of(request: Request) -> Versions:
    """Return the reader of jobs' versions."""
    versions: Versions = request.app.state.versions
    return versions


def admission_of(request: Request) -> Admission:
    """Return the app's admission to the database."""
    admission: Admission = request.app.state.admission
    return admission


def caller_of(request: Request) -> Caller:
    """Return the caller that the guard has identified."""
    caller: Caller = request.state.caller
    return caller


@contextmanager
def unit_of_work(request: Request, response: Response) -> Iterator[UnitOfWork]:
    """Open the request's transaction; its changes are in the audit log if it commits."""
    doorbell: Doorbell = request.app.state.doorbell
    quotas, write = Quotas.of(settings_of(request)), request.method not in READING
    # A shared dataset or model can be read, and referred to in jobs; a request to change it does not find it.
    with_shared = not write or not {"dataset_id", "model_id"} & request.path_params.keys()
    with UnitOfWork.of(database_of(request), doorbell, caller_of(request), quotas, write, with_shared) as work:
        if getattr(request.state, "room", False):
            check_room(work.session, storage_of(request), settings_of(request).min_free_bytes)
        yield work
        if write and not getattr(request.state, "changes_nothing", False):
            made = response.headers.get("Location", "").rpartition("/")[2]
            about = getattr(request.state, "audited", None) or next(iter(request.path_params.values()), made) or None
            action = request.scope["route"].operation_id
            audit.record(work.session, caller_of(request), action, about, request.state.request_id)


def reading(request: Request) -> Read:
    """Return a function that opens a reading session for the caller, in a thread of `api.http.admission`."""
    database, caller, quotas = database_of(request), caller_of(request), Quotas.of(settings_of(request))

    @contextmanager
    def read() -> Iterator[Session]:
        with database.reading() as session:
            act_for(session, caller, quotas, with_shared=True)
            yield session

    return read


# Errors of any JSON body.
OF_JSON: tuple[type[ApiError], ...] = (
    BadRequest,
    MalformedJson,
    CrossSite,
    BodyTooSlow,
    TooLarge,
    UnsupportedMediaType,
)


async def json_only(request: Request) -> None:
    """Refuse a body whose content type is not JSON."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType(f"expected Content-Type: application/json, got {media_type or 'none'}")


async def json_or_nothing(request: Request) -> None:
    """Refuse a body whose content type is not JSON; allow none."""
    if request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers:
        await json_only(request)


def remove_after(request: Request, work: UnitOfWork, notes: list[str]) -> None:
    """Remove the files of these notes after the commit."""
    work.then(lambda: follow_all(database_of(request), storage_of(request), notes))


async def room(request: Request) -> None:
    """Refuse work if the file store has no space besides reservations, in the request's transaction."""
    request.state.room = True


async def changes_nothing(request: Request) -> None:
    """Keep a request out of the audit log, although its method is one of writes: a validation stores nothing."""
    request.state.changes_nothing = True


Found = TypeVar("Found")


async def at_database(request: Request, work: Callable[[], Found], write: bool) -> Found:
    """Run a request's database work in a thread of `api.http.admission`.

    Raises:
        Overloaded: too many are waiting, and this is the request's first step; later steps are never refused.
    """
    begun = getattr(request.state, "begun", False)
    found = await admission_of(request).run(work, write, refuse=not begun)
    request.state.begun = True
    return found


def at_once(find: Callable[[Request], Found]) -> Callable[[Request], Awaitable[Found]]:
    """Wrap a mere look-up as a coroutine dependency: FastAPI would use a thread for a plain function."""

    async def found(request: Request) -> Found:
        return find(request)

    return found


SettingsDep = Annotated[Settings, Depends(at_once(settings_of))]
DatabaseDep = Annotated[Database, Depends(at_once(database_of))]
CallerDep = Annotated[Caller, Depends(at_once(caller_of))]
StorageDep = Annotated[Storage, Depends(at_once(storage_of))]
ReadDep = Annotated[Read, Depends(at_once(reading))]
WatchDep = Annotated[Watch, Depends(at_once(watch_of))]
AdmissionDep = Annotated[Admission, Depends(at_once(admission_of))]
# `api.http.routing.Route` opens it; FastAPI refuses to start if an endpoint on another route depends on it.
Work = Annotated[UnitOfWork, "the request's transaction"]
IfNoneMatch = Annotated[str | None, Header(description="ETag of the client's copy")]


ANYWHERE: tuple[type[ApiError], ...] = (
    HostNotAllowed,
    BadRequest,
    LoopbackOnly,
    HeadersTooLarge,
    InternalError,
    Unavailable,
    Overloaded,
)


def refusals(*errors: type[ApiError]) -> dict[int | str, dict[str, Any]]:
    """Document the errors of an endpoint by status, including those that any endpoint may return.

    >>> from api.errors import NotFound
    >>> refusals(NotFound)[404]["description"]
    '`not_found`: Not found'
    """
    responses: dict[int | str, dict[str, Any]] = {}
    for error in (*errors, *ANYWHERE):
        sentence = f"`{error.code}`: {error.title}"
        if error.status in responses:
            responses[error.status]["description"] += f"; {sentence}"
        else:
            schema = {"$ref": "#/components/schemas/ProblemDocument"}
            responses[error.status] = {
                "description": sentence,
                "content": {"application/problem+json": {"schema": schema}},
            }
    return responses
