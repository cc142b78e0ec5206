"""Server-sent events that follow a job: no thread and no database connection is held while there is nothing to send.

FastAPI's own support encodes them. Its generator endpoints are not used: they need their own address, while
here the `Accept` header decides, and they cannot respond 503 when a job has too many streams.
"""

import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import anyio
from fastapi import Request
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from pydantic import BaseModel
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from api.http.watch import Watch

log = logging.getLogger(__name__)

JSON, STREAM = "application/json", "text/event-stream"
KEEP_ALIVE_SECONDS = 15.0  # of silence before a comment shows that the stream is alive
PATIENCE_SECONDS = 60.0  # in which a client may read nothing at all
Cursor = TypeVar("Cursor")


@dataclass(frozen=True)
class Batch(Generic[Cursor]):
    """The result of one read for a stream."""

    body: bytes
    cursor: Cursor  # where the next read begins
    ended: bool = False  # nothing more will follow
    more: bool = False  # more is available now


class EventStream(EventSourceResponse, Generic[Cursor]):
    """A response that follows a job.

    A slow client costs nothing, since nothing is read for it meanwhile; one that reads nothing for `patience` seconds
    is disconnected. When the database does not respond or the service stops, the stream ends, and the client reconnects
    with the last id that it received.
    """

    def __init__(
        self,
        watch: Watch,
        job_id: str,
        read: Callable[[Cursor], Batch[Cursor]],
        cursor: Cursor,
        patience: float = PATIENCE_SECONDS,
        keep_alive: float = KEEP_ALIVE_SECONDS,
    ) -> None:
        # Otherwise proxies such as nginx buffer events.
        super().__init__(self._follow(), headers={"X-Accel-Buffering": "no"})
        self._watch, self._job_id, self._read, self._cursor = watch, job_id, read, cursor
        self._patience, self._keep_alive = patience, keep_alive

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream to the end; raises `TooManyWaiting` before the first byte."""

        async def send_in_time(message: Message) -> None:
            try:
                with anyio.fail_after(self._patience):
                    await send(message)
            except TimeoutError:
                raise ClientDisconnect from None

        with self._watch.job(self._job_id, scope["state"]["caller"]) as self._news:
            await super().__call__(scope, receive, send_in_time)

    async def _follow(self) -> AsyncIterator[bytes]:
        cursor = self._cursor
        while not self._watch.closing:
            try:
                batch = await self._watch.admission.follow(partial(self._read, cursor))
            except (OperationalError, PoolTimeout) as error:
                log.warning("closing the stream of %s because the database does not respond: %s", self._job_id, error)
                return
            if batch.body:
                yield batch.body
            if batch.ended:
                return
            cursor = batch.cursor
            if not batch.more and not await self._news.wait(self._keep_alive):
                yield KEEPALIVE_COMMENT


def encode(data: BaseModel, event: str, id_: str) -> bytes:
    """Encode one event for transmission."""
    return format_sse_event(data_str=data.model_dump_json(), event=event, id=id_)


def accepted(request: Request, *offered: str) -> str:
    """Choose among the offered media types the one that the client names first; by default, the first offered one."""
    named = (item.partition(";")[0].strip().lower() for item in request.headers.get("accept", "").split(","))
    return next((item for item in named if item in offered), offered[0])
