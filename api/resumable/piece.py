"""One piece of an upload on its way in: appended as it comes, so that a broken connection loses nothing of it."""

import asyncio
from dataclasses import dataclass
from typing import IO, Annotated

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from api.dependencies import reading
from api.errors import BadRequest, Gone, TooLarge, UnsupportedMediaType, UploadBusy, WrongOffset
from api.ledger.holding import AHEAD, Held
from api.partials import Busy, Partial
from api.resumable import service
from api.resumable.headers import version_of
from api.resumable.tables import ResumableUpload
from api.storage import CHUNK, full_disk_told

MEDIA_TYPE = "application/offset+octet-stream"
IDLE_SECONDS = 60.0  # without a byte: the client is gone, and what holds the file must let it go


async def take_piece(request: Request, upload_id: str) -> str:
    """Append the body to the upload's file; give the upload's id.

    Raises:
        BadRequest: the headers are not those of the protocol, or no byte came for too long.
        NotFound, Gone: there is no such upload, or it was abandoned.
        WrongOffset: the piece begins elsewhere than where the last one ended.
        UploadBusy: another request is sending.
        TooLarge: the body goes beyond the announced length.
        QuotaExceeded: the upload was abandoned, and its owner has stored too much since for it to go on.
        StorageFull: the disk has no room for the piece; what has come stays.
    """
    version_of(request)
    offset = _offset(request)
    row = await run_in_threadpool(_row, request, upload_id)
    length, state = row.length, request.app.state
    partial = Partial(state.storage, upload_id)
    held: Held = state.ledger.begin(state.settings, row.owner, upload_id, counted=False)  # the row counts
    try:
        with partial.appending() as file:
            if (there := file.tell()) != offset:
                raise WrongOffset(
                    f"expected a piece that begins at byte {there}, got one at {offset}",
                    headers={"Upload-Offset": str(there)},
                )
            await _append(request, file, length - offset, _Room(held, row))
    except Busy:
        raise UploadBusy("expected one request at a time to send to an upload, got another") from None
    except FileNotFoundError:
        if offset < length:  # else it is complete, and has become what it was announced as
            raise Gone("expected an upload that goes on, got one that was abandoned or is complete") from None
    finally:
        await asyncio.shield(run_in_threadpool(held.release, lambda session: service.count(session, upload_id)))
    return upload_id


def whole(request: Request, upload_id: str) -> str | None:
    """Give the hash of an upload whose last byte has come and that is not yet what it was announced as; else None.

    Before the request's transaction begins: that must not stand open while gigabytes are read.
    """
    version_of(request)
    with reading(request)() as session:
        row = service.get(session, upload_id)
    partial = Partial(request.app.state.storage, upload_id)
    if row.created or partial.size() != row.length:
        return None
    try:
        return partial.sha256()
    except FileNotFoundError:  # another request was quicker
        return None


def whole_after_piece(request: Request, upload_id: Annotated[str, Depends(take_piece)]) -> str | None:
    """Give the same once a piece is taken."""
    return whole(request, upload_id)


@dataclass(frozen=True)
class _Room:
    """What is reserved on the disk for a piece. Its owner's quota counts the upload's whole length already."""

    held: Held
    row: ResumableUpload

    def cover(self, size: int, ahead: int = 0) -> None:
        """Reserve room for the file to grow to `size` bytes, and keep its row counted."""
        ahead = min(ahead, self.row.length - size)
        self.held.cover(size, ahead, lambda session: service.go_on(session, self.row.id, self.row.owner))


async def _append(request: Request, file: IO[bytes], missing: int, room: _Room) -> None:
    """Write what comes, as it comes, and no byte more than was announced."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal():
        if int(announced) > missing:
            raise TooLarge(f"expected at most the {missing} bytes that are missing, got a body of {announced}")
        await run_in_threadpool(room.cover, file.tell() + int(announced))
    pending, stream = bytearray(), request.stream()
    try:
        while True:
            try:
                chunk = await asyncio.wait_for(anext(stream), IDLE_SECONDS)
            except StopAsyncIteration:
                break
            except TimeoutError:
                raise BadRequest(f"expected the body to go on, got no byte for {IDLE_SECONDS:g} s") from None
            if len(chunk) > missing:
                raise TooLarge("expected at most the bytes that are missing, got more")
            missing -= len(chunk)
            pending += chunk
            if len(pending) >= CHUNK:
                await run_in_threadpool(_write, file, pending, room)
    finally:
        await asyncio.shield(run_in_threadpool(_write, file, pending, room))


def _write(file: IO[bytes], pending: bytearray, room: _Room) -> None:
    """Write and empty `pending`, once there is room for it."""
    view, done = bytes(pending), 0
    pending.clear()
    room.cover(file.tell() + len(view), AHEAD)
    with full_disk_told("expected room for the piece, got a full disk; what has come before stays"):
        while done < len(view):
            done += file.write(view[done:])


def _offset(request: Request) -> int:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != MEDIA_TYPE:
        raise UnsupportedMediaType(f"expected Content-Type: {MEDIA_TYPE}, got {media_type or 'none'}")
    given = request.headers.get("upload-offset", "")
    if not (given.isascii() and given.isdecimal() and len(given) < 20):
        raise BadRequest(f"expected the header Upload-Offset with a number of bytes, got {given[:40]!r}")
    return int(given)


def _row(request: Request, upload_id: str) -> ResumableUpload:
    with reading(request)() as session:
        return service.get(session, upload_id)
