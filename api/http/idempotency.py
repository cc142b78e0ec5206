"""Idempotency for endpoints that create: a repeated request is processed only once.

An endpoint depends on a `Once` before its `Work` (so that the claim is visible before the transaction begins) and
passes it the response. A request that was answered before never reaches its endpoint: `Replayed` holds its response.
"""

import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from api.access import idempotency
from api.access.idempotency import Answer, Claim
from api.db import Database
from api.errors import ApiError, FieldError, Invalid, KeyInFlight, KeyReused
from api.http.dependencies import at_database, caller_of, database_of
from api.http.receiving import Upload
from api.storage import Storage
from api.storage.deletions import drop_unnamed

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
KEYED: tuple[type[ApiError], ...] = (Invalid, KeyReused, KeyInFlight)  # refusals of a request with a key
_KEY = re.compile(r"[\x20-\x7e]{1,255}")


class Replayed(Exception):
    """The request was answered before; this is its response."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class Once:
    """A request under its claim, or one without a key."""

    def __init__(self, claim: Claim | None) -> None:
        self._claim = claim

    def accepted(self, session: Session, view: BaseModel, response: Response, location: str, retry_after: str) -> None:
        """Set the headers of an accepted request, and store the response, as `keep` does."""
        response.headers["Location"] = location
        response.headers["Retry-After"] = retry_after
        self.keep(session, view, response)

    def keep(self, session: Session, view: BaseModel, response: Response, status: int = 202) -> None:
        """Store the response in the request's own transaction.

        Raises:
            KeyInFlight: the request took too long, and another one has claimed the key.
        """
        if self._claim is not None:
            answer = Answer(response.status_code or status, dict(response.headers), view.model_dump_json(by_alias=True))
            idempotency.keep(session, self._claim, answer)


async def key_of(
    request: Request,
    key: Annotated[
        str | None,
        Header(
            alias=HEADER,
            description="1 to 255 printable ASCII characters; a repeated request returns the first response",
            json_schema_extra={"pattern": f"^{_KEY.pattern}$"},
        ),
    ] = None,
) -> str | None:
    """Check the key, before a byte of an upload is read."""
    given = request.headers.getlist(HEADER)
    if len(given) > 1 or (key is not None and not _KEY.fullmatch(key)):
        got = f"{len(given)} of them" if len(given) > 1 else json.dumps((key or "")[:40])
        detail = f"expected one key of 1 to 255 printable ASCII characters, got {got}"
        raise Invalid(f"{HEADER}: {detail}", [FieldError(parameter=HEADER, detail=detail)])
    return key


Key = Annotated[str | None, Depends(key_of)]


async def once(request: Request, key: Key) -> AsyncIterator[Once]:
    """Claim the key of a request whose body is JSON, or empty."""
    async with _claimed(request, key, _fingerprint(request, await request.body())) as claimed:
        yield claimed


def once_of_headers(*names: str) -> Callable[..., AsyncIterator[Once]]:
    """Return a dependency that claims the key of a request that is defined by these headers instead of a body."""

    async def once(request: Request, key: Key) -> AsyncIterator[Once]:
        said = json.dumps([request.headers.get(name) for name in names]).encode()
        async with _claimed(request, key, _fingerprint(request, said)) as claimed:
            yield claimed

    return once


def once_of_upload(receive: Callable[..., AsyncIterator[Upload]]) -> Callable[..., AsyncIterator[Once]]:
    """Return a dependency that claims the key of an upload: a large body is compared by its stored hash."""

    async def once(request: Request, key: Key, upload: Annotated[Upload, Depends(receive)]) -> AsyncIterator[Once]:
        database, storage = database_of(request), request.app.state.storage
        content = json.dumps([upload.filename, upload.name, upload.stored.key, *upload.words.values.values()]).encode()
        try:
            async with _claimed(request, key, _fingerprint(request, content)) as claimed:
                yield claimed
        except (Replayed, KeyReused, KeyInFlight):
            await at_database(request, partial(_drop, database, storage, upload), write=True)
            raise

    return once


OnceDep = Annotated[Once, Depends(once, scope="function")]


@asynccontextmanager
async def _claimed(request: Request, key: str | None, fingerprint: str) -> AsyncIterator[Once]:
    """Hold the claim while the endpoint runs; release it if it fails."""
    if key is None:
        yield Once(None)
        return
    database, claim = database_of(request), Claim.new(key, fingerprint, caller_of(request).key)
    if (answer := await at_database(request, partial(_claim, database, claim), write=True)) is not None:
        raise Replayed(answer)
    try:
        yield Once(claim)
    except BaseException:
        await at_database(request, partial(_release, database, claim), write=True)
        raise


def _claim(database: Database, claim: Claim) -> Answer | None:
    try:
        with database.transaction(write=True) as session:
            idempotency.add(session, claim)
    except IntegrityError:
        with database.transaction(write=True) as session:
            return idempotency.take_over(session, claim)
    return None


def _release(database: Database, claim: Claim) -> None:
    with database.transaction(write=True) as session:
        idempotency.release(session, claim)


def _drop(database: Database, storage: Storage, upload: Upload) -> None:
    """Remove the file that this request has stored, if nothing else needs it."""
    if upload.stored.new:
        drop_unnamed(database, storage, upload.stored.key)


def _fingerprint(request: Request, content: bytes) -> str:
    """Hash the request, including its address: the same body at another address is another request."""
    asked: list[Any] = [request.method, request.url.path, request.url.query]
    return hashlib.sha256(json.dumps(asked).encode() + b"\0" + content).hexdigest()
