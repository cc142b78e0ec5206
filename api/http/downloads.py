"""Download stored files: from this machine, by a presigned URL of the bucket, or through the service."""

import os
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath
from types import MappingProxyType
from typing import Any

from fastapi import Request
from starlette.responses import Response

from api.errors import Gone
from api.http.dependencies import settings_of, storage_of
from api.http.responses import ContentResponse, Disposition, content_etag, not_modified
from api.storage import Storage

NO_HEADERS: Mapping[str, str] = MappingProxyType({})
ALWAYS_OURS = ("content-security-policy",)  # headers that a bucket cannot send


@dataclass(frozen=True)
class Download:
    """The file to send, and its presentation."""

    key: str
    sha256: str
    size: int
    stored_at: datetime
    filename: str  # name for saving it; plain characters
    media_type: str
    disposition: Disposition = "attachment"


def hand_out(
    request: Request, file: Download, if_none_match: str | None, headers: Mapping[str, str] = NO_HEADERS
) -> Response:
    """Respond with a stored file, a redirect to the bucket, or a 304.

    The service itself answers HEAD, files that need headers which a bucket does not send, and files shown in a page:
    the console's content policy admits no images of another origin.

    Raises:
        Gone: nothing is stored under the key.
    """
    if (unchanged := not_modified(if_none_match, content_etag(file.sha256), headers)) is not None:
        return unchanged
    store, settings = storage_of(request), settings_of(request)
    if not store.exists(file.key):
        raise Gone(f"expected {PurePath(file.key).name} in the file store, but it has been removed")
    if (path := store.local(file.key)) is not None:
        return ContentResponse(path, file.sha256, file.filename, file.media_type, file.disposition, headers)
    passed_on = _PassedOn(store, file, headers)
    guarded = file.disposition == "inline" or any(name.lower() in ALWAYS_OURS for name in headers)
    if not settings.s3_redirect or guarded or request.method != "GET":
        return passed_on
    address = store.presigned(file.key, file.media_type, passed_on.headers["content-disposition"])
    if address is None:
        return passed_on
    kept = {name: passed_on.headers[name] for name in ("etag", "repr-digest")}
    return Response(status_code=307, headers={"Location": address, "Cache-Control": "no-store", **kept})


class _PassedOn(ContentResponse):
    """A file of the bucket sent through the service, with ranges like a local file."""

    def __init__(self, store: Storage, file: Download, headers: Mapping[str, str]) -> None:
        super().__init__(PurePath(file.key), file.sha256, file.filename, file.media_type, file.disposition, headers)
        self._store, self._key = store, file.key
        at = file.stored_at.timestamp()
        self.stat_result = os.stat_result((stat.S_IFREG, 0, 0, 1, 0, 0, file.size, at, at, at))
        self.set_stat_headers(self.stat_result)

    @asynccontextmanager
    async def _open_file(self) -> AsyncIterator[Any]:
        async with self._store.reader(self._key) as reader:
            yield reader
