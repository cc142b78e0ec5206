"""Receive uploads: stream multipart/form-data to the store in constant memory; a refused upload leaves nothing behind.

Bytes are reserved before they are written: all at once if the client announces a length, else step by step. No
transaction is open while they arrive.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool

from api.errors import BadRequest, FieldError, Invalid, TooLarge, UnsupportedMediaType
from api.http.reserving import Reserving
from api.settings import Settings
from api.storage import CHUNK, Incoming, Storage, Stored, full_disk_reported
from api.tables.uploads import suffix_of
from api.uploads.datasets.reading import AS_IT_IS, DIVIDE, KEEP, LENIENT, Words, check_keep, checked
from api.uploads.ledger.reservations import AHEAD, Held
from rdrkd.spec.splitting import LONGEST

FORM_OVERHEAD = 64 * 1024  # boundaries, part headers and the other fields
LONGEST_BOUNDARY = 70  # bytes
MAX_NAME = 200
NO_ROOM = "expected room for the upload, got a full disk; nothing of it was kept"


_WORDS: dict[str, Any] = {
    "lenient": {"type": "boolean", "default": False, "description": LENIENT},
    "keep": {"type": "boolean", "default": False, "description": KEEP},
    "divide": {"type": "string", "maxLength": LONGEST, "description": DIVIDE, "examples": ["val=0.2,prefix=_"]},
}


@dataclass(frozen=True)
class Upload:
    """A file in the store, with the client's name for it."""

    stored: Stored
    filename: str
    name: str | None
    words: Words = AS_IT_IS  # how to read a dataset
    held: Held | None = None  # its reservation, until its row counts


def receiver(
    suffixes: tuple[str, ...], limit: Callable[[Settings], int], dataset: bool = False
) -> Callable[[Request], AsyncIterator[Upload]]:
    """Return a dependency that receives an upload.

    Args:
        suffixes: allowed suffixes of the file's name, such as `.zip`.
        limit: size limit, bytes.
        dataset: accept the options for reading a dataset: `lenient`, `keep`, `divide`.
    """
    fields = ("name", *_WORDS) if dataset else ("name",)

    async def receive(request: Request) -> AsyncIterator[Upload]:
        most = limit(request.app.state.settings)
        length = _announced(request, most)
        storage: Storage = request.app.state.storage
        room: Reserving | None = None
        try:
            with full_disk_reported(NO_ROOM), storage.incoming() as incoming:
                room = Reserving(request, request.state.caller.owner, incoming.name)
                if length is None:
                    await room.cover(0, AHEAD)
                else:  # the rest of the form may be almost empty, or as long as the overhead allows
                    await room.cover(max(0, length - FORM_OVERHEAD), min(length, FORM_OVERHEAD))
                form = _Form(_boundary(request), suffixes, most, fields)
                async for chunk in request.stream():
                    form.feed(chunk)
                    if len(form.pending) >= CHUNK:
                        await _write(form, incoming, room)
                suffix, filename = form.finish()
                name, words = form.name(), form.words()
                await _write(form, incoming, room)
                upload = Upload(await run_in_threadpool(incoming.keep, suffix), filename, name, words, room.held)
            yield upload
        finally:
            if room is not None:
                await room.release()

    return receive


async def _write(form: "_Form", incoming: Incoming, room: Reserving) -> None:
    """Write the file's pending bytes, once space is reserved."""
    await room.cover(incoming.size + len(form.pending), AHEAD)
    await run_in_threadpool(form.drain, incoming)


def form_body(suffixes: tuple[str, ...], example: str, dataset: bool = False) -> dict[str, Any]:
    """Describe the form for OpenAPI: FastAPI cannot see it, because the body is streamed."""
    properties: dict[str, Any] = {
        "file": {"type": "string", "format": "binary", "description": f"a {' or '.join(suffixes)} file"},
        "name": {"type": "string", "maxLength": MAX_NAME, "description": "display name", "examples": [example]},
    }
    if dataset:
        properties |= _WORDS
    schema = {"type": "object", "required": ["file"], "properties": properties, "additionalProperties": False}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def _announced(request: Request, most: int) -> int | None:
    """Return the announced length, or None; refuse a body that is too large before a byte is read."""
    length = request.headers.get("content-length", "")
    if not length.isdecimal():
        return None
    if int(length) > most + FORM_OVERHEAD:
        raise TooLarge(f"expected a file of at most {most} bytes, got a body of {length}")
    return int(length)


def _boundary(request: Request) -> bytes:
    media_type, options = parse_options_header(request.headers.get("content-type"))
    if media_type != b"multipart/form-data" or not options.get(b"boundary"):
        raise UnsupportedMediaType(
            f"expected multipart/form-data with a boundary, got {media_type.decode('latin-1') or 'no Content-Type'}"
        )
    if (length := len(options[b"boundary"])) > LONGEST_BOUNDARY:
        raise BadRequest(f"expected a boundary of at most {LONGEST_BOUNDARY} bytes (RFC 2046), got {length}")
    return options[b"boundary"]


@dataclass
class _Part:
    """The part being read; its name is None until its headers are complete."""

    header: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)
    disposition: bytes = b""
    name: str | None = None


class _Form:
    """A form with one `file` and optional short fields, fed in chunks; the file's bytes accumulate in `pending`."""

    def __init__(self, boundary: bytes, suffixes: tuple[str, ...], most: int, fields: Sequence[str]) -> None:
        self.pending = bytearray()
        self._fields = fields
        self._suffixes, self._most = suffixes, most
        self._size, self._complete = 0, False
        self._part = _Part()
        self._filename: str | None = None
        self._values: dict[str, bytearray] = {}
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_field,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._data,
                "on_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> None:
        """Parse the next bytes of the body."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise BadRequest(f"expected multipart/form-data, got something else: {error}") from error

    def drain(self, incoming: Incoming) -> None:
        """Write the file's pending bytes."""
        incoming.write(bytes(self.pending))
        self.pending.clear()

    def finish(self) -> tuple[str, str]:
        """Return the file's suffix, and its name."""
        if not self._complete:
            raise BadRequest("expected a complete form, got a truncated one")
        if self._filename is None:
            raise _refused("file", "expected a part `file` with a file name, got none")
        if not self._size:
            raise _refused("file", "expected a file with content, got an empty one")
        return self._suffix(self._filename), self._filename

    def name(self) -> str | None:
        """Return the form's `name`."""
        name = self._text("name").strip()
        if len(name) > MAX_NAME or not name.isprintable():
            raise _refused("name", f"expected at most {MAX_NAME} printable characters, got {name[:40]!r}")
        return name or None

    def words(self) -> Words:
        """Return the options for reading a dataset."""
        lenient, keep = self._flag("lenient"), self._flag("keep")
        try:
            check_keep(lenient, keep)
        except ValueError as error:
            raise _refused("keep", str(error)) from error
        try:
            return Words(lenient, keep, checked(self._text("divide")))
        except ValueError as error:
            raise _refused("divide", str(error)) from error

    def _flag(self, field: str) -> bool:
        text = self._text(field).strip().lower()
        if text not in ("true", "false", ""):
            raise _refused(field, f"expected true or false, got {text[:40]!r}")
        return text == "true"

    def _begin(self) -> None:
        self._part = _Part()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._part.header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._part.value += data[start:end]

    def _header_end(self) -> None:
        if self._part.header.lower() == b"content-disposition":
            self._part.disposition = bytes(self._part.value)
        self._part.header, self._part.value = bytearray(), bytearray()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._part.disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name == "file" and self._filename is None and b"filename" in options:
            self._filename = _plain(options[b"filename"].decode("utf-8", "replace"))
            self._suffix(self._filename)  # refuse before the content is read
        elif name in self._fields and name not in self._values:
            self._values[name] = bytearray()
        else:
            others = " and ".join(f"one `{field}`" for field in self._fields)
            raise _refused(name, f"expected one part `file` with a file name and at most {others}")
        self._part.name = name

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._part.name in self._values:
            value = self._values[self._part.name]
            value += data[start : min(end, start + 4 * MAX_NAME + 1)]
            if len(value) > 4 * MAX_NAME:
                raise _refused(self._part.name, f"expected at most {MAX_NAME} characters, got more")
            return
        self._size += end - start
        if self._size > self._most:
            raise TooLarge(f"expected a file of at most {self._most} bytes, got more")
        self.pending += data[start:end]

    def _end(self) -> None:
        self._complete = True

    def _suffix(self, filename: str) -> str:
        suffix = suffix_of(filename, self._suffixes)
        if suffix is None:
            raise UnsupportedMediaType(f"expected a file named *{' or *'.join(self._suffixes)}, got {filename!r}")
        return suffix

    def _text(self, field: str) -> str:
        try:
            return self._values.get(field, bytearray()).decode()
        except UnicodeDecodeError as error:
            raise _refused(field, "expected UTF-8, got other bytes") from error


def _plain(filename: str) -> str:
    """Reduce a file name to its last part, printable and short; it is for display and never used as a path."""
    last = PurePosixPath(PureWindowsPath(filename).name).name
    return "".join(c for c in last if c.isprintable())[-MAX_NAME:]


def _refused(parameter: str, detail: str) -> Invalid:
    return Invalid(f"{parameter}: {detail}", [FieldError(parameter=parameter, detail=detail)])
