"""What endpoints ask for, as types; and how they document their refusals."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response
from sqlalchemy.orm import Session

from api.access import READING, Caller
from api.audit import service as audit
from api.db import Database
from api.discards import follow_all
from api.errors import (
    ApiError,
    BadRequest,
    CrossSite,
    HeadersTooLarge,
    HostNotAllowed,
    InternalError,
    LoopbackOnly,
    MalformedJson,
    StorageFull,
    TooLarge,
    Unavailable,
    UnsupportedMediaType,
)
from api.queue import Doorbell
from api.quotas import Quotas
from api.settings import Settings
from api.storage import Storage
from api.transactions import UnitOfWork, act_for
from api.watch import Watch

Read = Callable[[], AbstractContextManager[Session]]


def settings_of(request: Request) -> Settings:
    """Give the settings that the app was made with."""
    settings: Settings = request.app.state.settings
    return settings


def database_of(request: Request) -> Database:
    """Give the app's database."""
    database: Database = request.app.state.database
    return database


def storage_of(request: Request) -> Storage:
    """Give the app's file store."""
    storage: Storage = request.app.state.storage
    return storage


def watch_of(request: Request) -> Watch:
    """Give what tells of writes to jobs."""
    watch: Watch = request.app.state.watch
    return watch


def caller_of(request: Request) -> Caller:
    """Give who asks, as the guard has found."""
    caller: Caller = request.state.caller
    return caller


def unit_of_work(request: Request, response: Response) -> Iterator[UnitOfWork]:
    """Open the request's transaction; what it changes is in the audit log if it stands."""
    doorbell: Doorbell = request.app.state.doorbell
    quotas = Quotas.of(settings_of(request))
    with UnitOfWork.of(database_of(request), doorbell, caller_of(request), quotas) as work:
        yield work
        if request.method not in READING:
            made = response.headers.get("Location", "").rpartition("/")[2]
            about = next(iter(request.path_params.values()), made) or None
            action = request.scope["route"].operation_id
            audit.record(work.session, caller_of(request), action, about, request.state.request_id)


def reading(request: Request) -> Read:
    """Give what opens a transaction for the caller: for those who look several times, and wait in between."""
    database, caller, quotas = database_of(request), caller_of(request), Quotas.of(settings_of(request))

    @contextmanager
    def read() -> Iterator[Session]:
        with database.transaction() as session:
            act_for(session, caller, quotas)
            yield session

    return read


# What is refused of any JSON body.
OF_JSON: tuple[type[ApiError], ...] = (BadRequest, MalformedJson, CrossSite, TooLarge, UnsupportedMediaType)


def json_only(request: Request) -> None:
    """Refuse a body that does not call itself JSON."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType(f"expected Content-Type: application/json, got {media_type or 'none'}")


def json_or_nothing(request: Request) -> None:
    """Refuse a body that does not call itself JSON; there may be none."""
    if request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers:
        json_only(request)


def remove_after(request: Request, work: UnitOfWork, notes: list[str]) -> None:
    """Remove the files of these notes after the commit."""
    work.then(lambda: follow_all(database_of(request), storage_of(request), notes))


def room(request: Request) -> None:
    """Refuse work for which the file store has no room."""
    least, free = settings_of(request).min_free_bytes, storage_of(request).free()
    if free < least:
        raise StorageFull(f"expected at least {least} bytes free in the file store, got {free}")


SettingsDep = Annotated[Settings, Depends(settings_of)]
DatabaseDep = Annotated[Database, Depends(database_of)]
CallerDep = Annotated[Caller, Depends(caller_of)]
StorageDep = Annotated[Storage, Depends(storage_of)]
ReadDep = Annotated[Read, Depends(reading)]
WatchDep = Annotated[Watch, Depends(watch_of)]
# `scope="function"`: by default FastAPI would answer first and commit afterwards.
Work = Annotated[UnitOfWork, Depends(unit_of_work, scope="function")]
IfNoneMatch = Annotated[str | None, Header(description="the ETag of what the client has")]


ANYWHERE: tuple[type[ApiError], ...] = (
    HostNotAllowed,
    BadRequest,
    LoopbackOnly,
    HeadersTooLarge,
    InternalError,
    Unavailable,
)


def refusals(*errors: type[ApiError]) -> dict[int | str, dict[str, Any]]:
    """Document the errors that an endpoint answers with, by status; those that any may answer with come along.

    >>> from api.errors import NotFound
    >>> refusals(NotFound)[404]["description"]
    '`not_found`: There is nothing at this address'
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
