"""The headers of tus 1.0.0, the protocol of uploads in pieces."""

from datetime import UTC, datetime
from email.utils import format_datetime

from fastapi import Request

from api.errors import BadRequest, FieldError, Invalid, TooLarge, UnknownProtocol
from api.storage import ABANDONED_SECONDS
from api.storage.partial_uploads import Partial
from api.tables.resumable import ResumableUpload
from api.uploads.resumable.service import result_of

VERSION = "1.0.0"
LENGTH = "Upload-Length"
OF_ALL = {"Tus-Resumable": VERSION}
OPTIONS = {**OF_ALL, "Tus-Version": VERSION, "Tus-Extension": "creation,expiration,termination"}


def version_of(request: Request) -> None:
    """Refuse a client that names another version; one that names none is meant for this one.

    Raises:
        UnknownProtocol: it names another.
    """
    version = request.headers.get("tus-resumable", VERSION)
    if version != VERSION:
        raise UnknownProtocol(f"expected Tus-Resumable: {VERSION}, got {version[:40]!r}")


def length_of(request: Request, most: int) -> int:
    """Read the announced length of a file, bytes.

    Raises:
        BadRequest: the header is missing or no number.
        Invalid: the file is empty.
        TooLarge: it is larger than `most`.
    """
    given = request.headers.get(LENGTH, "")
    if not (given.isascii() and given.isdecimal() and len(given) < 20):
        raise BadRequest(f"expected the header {LENGTH} with the file's bytes, got {given[:40]!r}")
    if int(given) == 0:
        detail = "expected a file with content, got an empty one"
        raise Invalid(detail, [FieldError(parameter=LENGTH, detail=detail)])
    if int(given) > most:
        raise TooLarge(f"expected a file of at most {most} bytes, got one of {given}")
    return int(given)


def state_of(row: ResumableUpload, partial: Partial, offset: int) -> dict[str, str]:
    """Return the headers that say how far an upload is."""
    shown = {**OF_ALL, "Upload-Offset": str(offset), LENGTH: str(row.length), "Cache-Control": "no-store"}
    if (result := result_of(row)) is not None:
        return shown | {"Upload-Result": result}
    last = partial.last_byte_at()
    expires = datetime.fromtimestamp(last + ABANDONED_SECONDS, UTC)
    return shown | {"Upload-Expires": format_datetime(expires, usegmt=True)}
