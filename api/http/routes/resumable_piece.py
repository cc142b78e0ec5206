"""One piece of an upload on its way in: appended as it comes, so that a broken connection loses nothing of it."""

import asyncio
from typing import IO, Annotated

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from api.errors import BadRequest, Gone, TooLarge, UnsupportedMediaType, UploadBusy, WrongOffset
from api.http.dependencies import at_database, reading
from api.http.reserving import Reserving
from api.http.routes.resumable_headers import version_of
from api.storage import CHUNK, full_disk_reported
from api.storage.partial_uploads import Busy, Partial
from api.uploads.ledger.reservations import AHEAD
from api.uploads.resumable import service
from api.uploads.resumable.completion import hash_if_whole

MEDIA_TYPE = "application/offset+octet-stream"


async def take_piece(request: Request, upload_id: str) -> str:
    """Append the body to the upload's file; give the upload's id.

    Raises:
        BadRequest: the headers are not those of the protocol.
        NotFound, Gone: there is no such upload, or it was abandoned.
        WrongOffset: the piece begins elsewhere than where the last one ended.
        UploadBusy: another request is sending.
        TooLarge: the body goes beyond the announced length.
        QuotaExceeded: the upload had expired, and its owner's quota no longer allows it.
        StorageFull: the disk has no room for the piece; what has come stays.
    """
    version_of(request)
    offset = _offset(request)
    length, _, owner = await _announced(request, upload_id)
    partial = Partial(request.app.state.storage, upload_id)
    # Its owner's quota already counts the whole upload, and continues to while pieces arrive.
    room = Reserving(
        request, owner, upload_id, counted=False, also=lambda session: service.extend(session, upload_id, owner)
    )
    try:
        with partial.appending() as file:
            if (there := file.tell()) != offset:
                raise WrongOffset(
                    f"expected a piece that begins at byte {there}, got one at {offset}",
                    headers={"Upload-Offset": str(there)},
                )
            await _append(request, file, length - offset, room)
    except Busy:
        raise UploadBusy("expected one request at a time to send data to an upload, got a second one") from None
    except FileNotFoundError:
        if offset < length:  # else it is complete, and has become what it was announced as
            raise Gone("expected an active upload, got one that was aborted or is complete") from None
    finally:
        await room.release(lambda session: service.count(session, upload_id))
    return upload_id


async def whole_after_piece(request: Request, upload_id: Annotated[str, Depends(take_piece)]) -> str | None:
    """Take a piece; return the hash of an upload that is to be completed now, else None.

    Raises:
        UploadBusy: another request, or the reaper, is completing it.
    """
    length, created, _ = await _announced(request, upload_id)
    if created:
        return None
    return await run_in_threadpool(hash_if_whole, Partial(request.app.state.storage, upload_id), length)


async def _append(request: Request, file: IO[bytes], missing: int, room: Reserving) -> None:
    """Write what comes, as it comes, and no byte more than was announced."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal():
        if int(announced) > missing:
            raise TooLarge(f"expected at most the {missing} missing bytes, got a body of {announced}")
        await room.cover(file.tell() + int(announced))
    pending = bytearray()
    try:
        async for chunk in request.stream():
            if len(chunk) > missing:
                raise TooLarge("expected at most the missing bytes, got more")
            missing -= len(chunk)
            pending += chunk
            if len(pending) >= CHUNK:
                await _put(file, pending, missing, room)
    finally:
        await asyncio.shield(_put(file, pending, missing, room))


async def _put(file: IO[bytes], pending: bytearray, missing: int, room: Reserving) -> None:
    """Write and empty `pending`, once there is room for it."""
    content = bytes(pending)
    pending.clear()
    await room.cover(file.tell() + len(content), min(AHEAD, missing))
    await run_in_threadpool(_write, file, content)


def _write(file: IO[bytes], content: bytes) -> None:
    done = 0
    with full_disk_reported("expected room for the piece, got a full disk; what has come before stays"):
        while done < len(content):
            done += file.write(content[done:])


def _offset(request: Request) -> int:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != MEDIA_TYPE:
        raise UnsupportedMediaType(f"expected Content-Type: {MEDIA_TYPE}, got {media_type or 'none'}")
    given = request.headers.get("upload-offset", "")
    if not (given.isascii() and given.isdecimal() and len(given) < 20):
        raise BadRequest(f"expected the header Upload-Offset with a number of bytes, got {given[:40]!r}")
    return int(given)


async def _announced(request: Request, upload_id: str) -> tuple[int, bool, str | None]:
    """Read how long an upload is to be, whether it has become what it was announced as, and whose it is."""

    def read() -> tuple[int, bool, str | None]:
        with reading(request)() as session:
            row = service.get(session, upload_id)
            return row.length, bool(row.created), row.owner

    return await at_database(request, read, write=False)
